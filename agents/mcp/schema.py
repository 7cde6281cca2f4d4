"""The input schema of a server's tool as models can be offered it, and how good it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.mcp.models import Health

EMPTY: dict[str, Any] = {"type": "object", "properties": {}}
MAX_CHARS = 60_000
MAX_DEPTH = 24
MAX_NODES = 5_000
_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_ONE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "dependentSchemas")
_AT_TOP = ("anyOf", "oneOf", "allOf", "not", "enum", "const")  # vendors refuse these there
_DROPPED = frozenset({"$schema", "$id", "$defs", "definitions", "$comment", "$anchor"})


class BadSchema(Exception):
    """Why no model can be offered it."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """`parameters` can always be offered; where `health` is INVALID they are empty."""

    parameters: dict[str, Any]
    health: Health
    reasons: list[str] = field(default_factory=list)


def clean(schema: Any) -> Cleaned:
    """References are written out, what vendors refuse is taken away. Never raises for what a server sent."""
    reader = _Reader(schema)
    try:
        found = reader.top()
    except BadSchema as problem:
        return Cleaned(dict(EMPTY), Health.INVALID, [str(problem)])
    reasons = reader.notes + _loose(found, "the arguments")
    return Cleaned(found, Health.LOOSE if reasons else Health.STRICT, reasons[:20])


class _Reader:
    """Reads one schema. `notes`: what was taken away."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self.notes: list[str] = []
        self.nodes = 0

    def top(self) -> dict[str, Any]:
        if not isinstance(self.schema, dict):
            raise BadSchema("it is no JSON object")
        if _length(self.schema) > MAX_CHARS:
            raise BadSchema(f"it has more than {MAX_CHARS} characters")
        kind = self.schema.get("type", "object")
        if kind != "object":
            raise BadSchema(f"its type is {json.dumps(kind)[:40]}, where arguments need an object")
        found = self._read({**self.schema, "type": "object"}, ())
        for name in _AT_TOP:
            if found.pop(name, None) is not None:
                self.notes.append(f"'{name}' at the top is not passed on to models")
        found.setdefault("properties", {})
        return found

    def _read(self, node: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """`path`: the references that led here, and the depth."""
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise BadSchema("it is nested too deeply, or refers to itself")
        if node is True:
            return {}
        if not isinstance(node, dict):
            raise BadSchema(f"a schema in it is {json.dumps(node)[:40]}")
        if "$ref" in node:
            return self._referred(node, path)
        found = {name: value for name, value in node.items() if name not in _DROPPED}
        _check(found)
        self._read_within(found, path)
        return self._completed(found)

    def _read_within(self, found: dict[str, Any], path: tuple[str, ...]) -> None:
        for name in _ONE:
            if isinstance(found.get(name), dict) or (name != "additionalProperties" and name in found):
                found[name] = self._read(found[name], (*path, ""))
        for name in _MANY:
            if name in found:
                found[name] = [self._read(one, (*path, "")) for one in _of(list, found, name)]
        for name in _NAMED:
            if name in found:
                found[name] = {str(k): self._read(one, (*path, "")) for k, one in _of(dict, found, name).items()}

    def _completed(self, found: dict[str, Any]) -> dict[str, Any]:
        if found.get("type") == "array" and "items" not in found:
            found["items"] = {}
        if isinstance(found.get("required"), list) and "properties" in found:
            known = [name for name in found["required"] if name in found["properties"]]
            if known != found["required"]:
                self.notes.append("it requires arguments that it does not describe")
                found["required"] = known
        return found

    def _referred(self, node: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        reference = node["$ref"]
        if reference in path:
            self.notes.append("it refers to itself; a model is not shown what lies deeper")
            return {}
        aim: Any = self.schema
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise BadSchema("it refers to another document")
        for part in filter(None, reference[1:].split("/")):
            aim = aim.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(aim, dict) else None
        if aim is None:
            raise BadSchema(f"it refers to {reference[:80]}, which it does not have")
        beside = {name: value for name, value in node.items() if name != "$ref"}
        return {**self._read(aim, (*path, reference)), **self._read(beside, (*path, ""))}


def _check(node: Mapping[str, Any]) -> None:
    kinds = node.get("type")
    for kind in kinds if isinstance(kinds, list) else [] if kinds is None else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise BadSchema(f"{json.dumps(kind)[:40]} is no type of JSON Schema")
    for name in ("required", "enum"):
        if name in node and not isinstance(node[name], list):
            raise BadSchema(f"'{name}' in it is no list")
    if any(not isinstance(name, str) for name in node.get("required") or ()):
        raise BadSchema("'required' in it has something else than names")


def _of(kind: type, node: Mapping[str, Any], name: str) -> Any:
    if not isinstance(node[name], kind):
        raise BadSchema(f"'{name}' in it is no {'object' if kind is dict else 'list'}")
    return node[name]


def _length(schema: Any) -> int:
    try:
        return len(json.dumps(schema))
    except RecursionError:
        raise BadSchema("it is nested too deeply") from None


def _loose(node: Mapping[str, Any], where: str) -> list[str]:
    """Why a vendor's strict mode would not take it."""
    found: list[str] = []
    properties = node.get("properties")
    if node.get("type") == "object" or properties is not None:
        if node.get("additionalProperties") is not False:
            found.append(f"{where}: additionalProperties is not false")
        missing = [name for name in properties or {} if name not in (node.get("required") or ())]
        if missing:
            found.append(f"{where}: not required: {', '.join(missing)[:100]}")
    for name, child in (properties or {}).items():
        found += _loose(child, f"'{name[:40]}'")
    if isinstance(node.get("items"), dict):
        found += _loose(node["items"], f"the items of {where}")
    for name in _MANY:
        for child in node.get(name) or ():
            found += _loose(child, f"{name} of {where}")
    return found
