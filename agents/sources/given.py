"""JSON schemas that come beside a source, or in its place: checked, and brought into the form that models are given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agents.sources.limits import MAX_DEPTH, MAX_TYPES, Schema, SourceRefused
from agents.tools.arguments import clean_all

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_SCHEMA = 200_000
# What pydantic writes, and no model needs.
_NOISE = frozenset({"$defs", "definitions", "$schema", "title"})


def function_of(given: Mapping[str, Any]) -> Schema:
    """The function schema, unwrapped: name, description and parameters, as far as they are given."""
    wrapped = given.get("function")
    function = dict(wrapped if given.get("type") == "function" and isinstance(wrapped, Mapping) else given)
    if not isinstance(function.get("name", ""), str) or not isinstance(function.get("description") or "", str):
        raise SourceRefused("json_schema: “name” and “description” are texts.")
    return function


def parameters_of(given: Any, field: str) -> Schema:
    """`given`: a JSON schema of an object, its references resolved in the answer. Raises SourceRefused."""
    if given in (None, {}):
        return {"type": "object", "properties": {}, "required": []}
    if not isinstance(given, Mapping):
        raise SourceRefused(f"{field} must be a JSON schema of an object, not {type(given).__name__}.")
    found: Schema = _Inlined(given, field).value(dict(given), 0)
    properties, required = found.get("properties", {}), found.get("required", [])
    if found.get("type", "object") != "object" or not isinstance(properties, dict):
        raise SourceRefused(f"{field} must have “type”: “object” and “properties”: one per argument.")
    for name, schema in properties.items():
        if not isinstance(schema, dict):
            raise SourceRefused(f"{field}: “{name[:80]}” in “properties” must be a JSON schema, such as {{}}.")
    if not isinstance(required, list) or any(not isinstance(name, str) or name not in properties for name in required):
        raise SourceRefused(f"{field}: “required” must be a list of names that “properties” has.")
    return {**found, "type": "object", "properties": properties, "required": required}


def checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise SourceRefused(
            f"“{name[:80]}” cannot be a tool's name: models take 1 to 64 of the characters A-Z, a-z, 0-9, _ and -."
        )
    return name


def storable(schema: Schema) -> Schema:
    """Without characters that no database holds; raises SourceRefused where it is too large."""
    try:
        size = len(json.dumps(schema, allow_nan=False))
    except (ValueError, RecursionError):
        raise SourceRefused("The schema cannot be written as JSON: it has NaN, or is too deeply nested.") from None
    if size > MAX_SCHEMA:
        raise SourceRefused(f"The schema has {size} characters; at most {MAX_SCHEMA} are taken: shorten it.")
    return dict(clean_all(schema))


class _Inlined:
    """`$ref`s into `$defs` replaced by what they name: not every vendor follows them."""

    def __init__(self, root: Mapping[str, Any], field: str) -> None:
        self._field = field
        self._left = 4 * MAX_TYPES
        self._defined: dict[str, Any] = {}
        for place in ("$defs", "definitions"):
            if isinstance(root.get(place), Mapping):
                self._defined |= {f"#/{place}/{name}": value for name, value in root[place].items()}

    def value(self, value: Any, depth: int, *, names: bool = False) -> Any:
        """`names`: the keys are names of properties, not words of JSON schema."""
        self._left -= 1
        if self._left < 0 or depth > 4 * MAX_DEPTH:
            raise SourceRefused(f"{self._field} is too large or too deeply nested, or holds itself: make it simpler.")
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        if not isinstance(value, Mapping):
            return value
        if not names and isinstance(value.get("$ref"), str):
            named = value["$ref"]
            if named not in self._defined:
                raise SourceRefused(f"{self._field}: {named[:80]} leads nowhere; put it under “$defs”.")
            beside = {key: item for key, item in value.items() if key != "$ref"}
            return {**self.value(self._defined[named], depth + 1), **self.value(beside, depth + 1)}
        kept = value if names else {k: v for k, v in value.items() if k not in _NOISE}
        return {k: self.value(v, depth + 1, names=not names and k == "properties") for k, v in kept.items()}
