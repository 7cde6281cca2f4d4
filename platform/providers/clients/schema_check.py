"""Whether a value fits a JSON schema, as far as tools use it: types, required fields, enums, nesting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return any(fits(value, option) for option in options)
    kinds = schema.get("type")
    if kinds and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if isinstance(value, dict):
        return _fits_object(value, schema)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return all(fits(item, schema["items"]) for item in value)
    return True


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, (object,)))


def _fits_object(value: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    known = schema.get("properties") or {}
    if any(name not in value for name in schema.get("required") or ()):
        return False
    if schema.get("additionalProperties") is False and any(name not in known for name in value):
        return False
    return all(fits(item, known[name]) for name, item in value.items() if name in known)
