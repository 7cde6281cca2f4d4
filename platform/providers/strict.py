"""Schemas of tools in the strict form, in which vendors hold a call to its schema while the model writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KNOWN = frozenset({"type", "description", "enum", "const", "properties", "required", "items", "anyOf"})
_DROPPED = frozenset({"title", "additionalProperties"})


def strict_form(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema with every object closed; None where strictness would change what may be called.

    The strict form knows no optional argument: a tool with one is offered as it is, rather than with arguments that
    the model must make up.
    """
    if not set(schema) <= _KNOWN | _DROPPED or schema.get("additionalProperties"):
        return None
    made: dict[str, Any] = {key: value for key, value in schema.items() if key in _KNOWN}
    if schema.get("type") == "object" or "properties" in schema:
        properties = _all_strict(schema.get("properties") or {})
        if properties is None or set(schema.get("required") or ()) != set(properties):
            return None
        made |= {"properties": properties, "required": list(properties), "additionalProperties": False}
    if "items" in schema:
        made["items"] = _strict_part(schema["items"])
    if "anyOf" in schema:
        made["anyOf"] = [_strict_part(part) for part in schema["anyOf"]]
    return None if made.get("items", {}) is None or None in made.get("anyOf", ()) else made


def _all_strict(properties: Mapping[str, Any]) -> dict[str, Any] | None:
    found = {name: _strict_part(part) for name, part in properties.items()}
    return None if None in found.values() else found


def _strict_part(part: Any) -> dict[str, Any] | None:
    return strict_form(part) if isinstance(part, Mapping) and part else None
