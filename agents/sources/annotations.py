"""From a Python annotation to a JSON schema, by its syntax alone."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from agents.sources.docs import Docs, docs_of
from agents.sources.limits import Room, Schema, SourceRefused, of_values, union

_PLAIN: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "NoneType": {"type": "null"},
    "Any": {},
    "object": {},
    "list": {"type": "array", "items": {}},
    "tuple": {"type": "array", "items": {}},
    "dict": {"type": "object", "additionalProperties": True},
}
_SAME = {
    "List": "list",
    "Sequence": "list",
    "MutableSequence": "list",
    "Iterable": "list",
    "Collection": "list",
    "Set": "set",
    "AbstractSet": "set",
    "MutableSet": "set",
    "frozenset": "set",
    "FrozenSet": "set",
    "Tuple": "tuple",
    "Dict": "dict",
    "Mapping": "dict",
    "MutableMapping": "dict",
    "LiteralString": "str",
    "Text": "str",
}
_WRAPPERS = frozenset({"Annotated", "Final", "Required", "NotRequired", "ReadOnly"})
_WITHOUT_JSON = {
    "datetime": "str, and say in its description how the time is written",
    "date": "str, and say in its description how the date is written",
    "time": "str, and say in its description how the time is written",
    "timedelta": "int, and say in its description which unit it is in",
    "bytes": "str, and say in its description how it is encoded",
    "Decimal": "str or float",
    "UUID": "str",
    "Path": "str",
    "complex": "list[float]",
    "Callable": "str, the name of what to call",
}


class Types:
    """Reads the annotations of one source. `classes` and `aliases`: what the source defines at its top."""

    def __init__(self, module: ast.Module, class_schema: Callable[[Types, ast.ClassDef, str], Schema]) -> None:
        self.classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
        self.aliases = dict(filter(None, map(_alias, module.body)))
        self.room = Room()
        self._class_schema = class_schema
        self._open: list[str] = []
        self._docs: dict[str, Docs] = {}

    def schema(self, node: ast.expr, where: str) -> Schema:
        """Raises SourceRefused, which names `where`."""
        with self.room.inside(where):
            if isinstance(node, ast.Constant):
                return self._constant(node.value, where)
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
                return union([self.schema(member, where) for member in _members(node)])
            if isinstance(node, ast.Subscript):
                return self._generic(node, where)
            name = name_of(node)
            if name is None:
                raise _unknown(ast.unparse(node), where)
            return self._named(name, where)

    def text(self, text: str, where: str) -> Schema:
        """Of an annotation in quotes, or in a docstring."""
        try:
            return self.schema(ast.parse(text.strip(), mode="eval").body, where)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise _unknown(text, where) from None

    def docs(self, node: ast.ClassDef) -> Docs:
        if node.name not in self._docs:
            self._docs[node.name] = docs_of(node)
        return self._docs[node.name]

    def _constant(self, value: Any, where: str) -> Schema:
        if value is None:
            return dict(_PLAIN["None"])
        if isinstance(value, str):
            return self.text(value, where)
        raise _unknown(repr(value), where)

    def _named(self, name: str, where: str) -> Schema:
        if name in self.classes or name in self.aliases:
            return self._defined(name, where)
        known = _SAME.get(name, name)
        if known == "set":
            return {**_PLAIN["list"], "uniqueItems": True}
        if known not in _PLAIN:
            raise _unknown(name, where)
        return dict(_PLAIN[known])

    def _defined(self, name: str, where: str) -> Schema:
        if name in self._open:
            raise SourceRefused(f"{where}: {name} holds itself; a model cannot be told of a type without end.")
        self._open.append(name)
        try:
            if name in self.classes:
                return self._class_schema(self, self.classes[name], where)
            return self.schema(self.aliases[name], where)
        finally:
            self._open.pop()

    def _generic(self, node: ast.Subscript, where: str) -> Schema:
        name = name_of(node.value) or ast.unparse(node.value)
        given = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Optional":
            return union([self.schema(given[0], where), dict(_PLAIN["None"])])
        if name == "Union":
            return union([self.schema(member, where) for member in given])
        if name == "Literal":
            self.room.take(len(given), where)
            return of_values([_literal(member, where) for member in given])
        if name in _WRAPPERS:
            return self.schema(given[0], where)
        return self._container(_SAME.get(name, name), given, where)

    def _container(self, kind: str, given: list[ast.expr], where: str) -> Schema:
        if kind in ("list", "set"):
            unique = {"uniqueItems": True} if kind == "set" else {}
            return {"type": "array", "items": self.schema(given[0], where), **unique}
        if kind == "tuple":
            if len(given) == 2 and isinstance(given[1], ast.Constant) and given[1].value is Ellipsis:
                return {"type": "array", "items": self.schema(given[0], where)}
            items = union([self.schema(member, where) for member in given])
            return {"type": "array", "items": items, "minItems": len(given), "maxItems": len(given)}
        if kind == "dict":
            if len(given) != 2:
                raise SourceRefused(f"{where}: write dict[str, …] with the type of its values.")
            if self.schema(given[0], where).get("type", "string") != "string":
                raise SourceRefused(f"{where}: the keys of a JSON object are texts; write dict[str, …].")
            return {"type": "object", "additionalProperties": self.schema(given[1], where) or True}
        raise _unknown(kind, where)


def name_of(node: ast.expr) -> str | None:
    """`Optional` of `typing.Optional`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def metadata_of(node: ast.expr | None) -> list[ast.expr]:
    """What an `Annotated` has beside its type."""
    if isinstance(node, ast.Subscript) and name_of(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
        return list(node.slice.elts[1:])
    return []


def _members(node: ast.expr) -> list[ast.expr]:
    members: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        members.append(node.right)
        node = node.left
    return [node, *reversed(members)]


def _literal(node: ast.expr, where: str) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        value = ...
    if value is None or isinstance(value, (str, int)):
        return value
    raise SourceRefused(f"{where}: a Literal holds texts, numbers, True, False or None, not {ast.unparse(node)[:80]}.")


def _alias(node: ast.stmt) -> tuple[str, ast.expr] | None:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return (node.target.id, node.value) if name_of(node.annotation) == "TypeAlias" else None
    return None


def _unknown(name: str, where: str) -> SourceRefused:
    mend = _WITHOUT_JSON.get(name)
    if mend:
        return SourceRefused(f"{where}: JSON has no {name}; use {mend}.")
    return SourceRefused(
        f"{where}: the type {name[:80]} cannot be written as JSON schema; use str, int, float, bool, list, dict, "
        "Literal, Optional, or a pydantic model, dataclass, TypedDict or Enum of the source, or send json_schema."
    )
