"""What a source may have, so that reading a hostile one stays cheap, and how a refusal is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from core.errors import BadInput

MAX_SOURCE = 500_000
MAX_DOCSTRING = 20_000
MAX_PARAMETERS = 100
MAX_TYPES = 5_000
MAX_DEPTH = 16

Schema = dict[str, Any]


class SourceRefused(BadInput):
    """The source, or a schema beside it, cannot be a tool; the message names the place and the mend."""


class Room:
    """Counts the types and values of one schema: classes that hold each other could otherwise grow without end."""

    def __init__(self) -> None:
        self._left = MAX_TYPES
        self._depth = 0

    @contextmanager
    def inside(self, where: str) -> Iterator[None]:
        self.take(1, where)
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise _too_large(where)
            yield
        finally:
            self._depth -= 1

    def take(self, count: int, where: str) -> None:
        self._left -= count
        if self._left < 0:
            raise _too_large(where)


def _too_large(where: str) -> SourceRefused:
    return SourceRefused(f"{where}: its type is too large or too deeply nested; make it simpler.")


def union(members: list[Schema]) -> Schema:
    """Each shape once; one alone stands for itself."""
    different = [member for n, member in enumerate(members) if member not in members[:n]]
    return different[0] if len(different) == 1 else {"anyOf": different}


def without_null(schema: Schema) -> Schema:
    """Of an argument that may be left out: a model leaves it out rather than sending null."""
    rest = [member for member in schema.get("anyOf", ()) if member != {"type": "null"}]
    return {**{k: v for k, v in schema.items() if k != "anyOf"}, **union(rest)} if rest else schema


def untyped(schema: Schema) -> Schema:
    """An argument that may be anything is told as a text, which every model can send."""
    return schema if schema.keys() & {"type", "anyOf"} else {"type": "string", **schema}


def of_values(values: list[Any]) -> Schema:
    """One of these texts, numbers, truth values or null."""
    kinds = list(dict.fromkeys(_KINDS[type(value)] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}


def object_of(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": required}


_KINDS: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}
