"""From TypeScript types to JSON schemas, by their syntax alone."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from agents.sources.limits import (
    MAX_DOCSTRING,
    Room,
    Schema,
    SourceRefused,
    object_of,
    of_values,
    union,
    without_null,
)
from agents.sources.ts_tokens import Token, Tokens

_DECLARED = re.compile(
    r"^[ \t]*(?:export\s+)?(?:declare\s+)?(?:const\s+)?(interface|type|enum)\s+([A-Za-z_$][\w$]*)", re.MULTILINE
)
_TAG = re.compile(
    r"^@param\s+(?:\{(?P<type>[^}]*)\}\s*)?\[?(?P<name>[\w$.]+)(?:\s*=[^\]]*)?\]?\s*-?\s*(?P<text>.*)", re.S
)
_PLAIN: dict[str, Schema] = {
    "string": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "undefined": {"type": "null"},
    "void": {"type": "null"},
    "any": {},
    "unknown": {},
    "object": {"type": "object", "additionalProperties": True},
}
_LISTS = frozenset({"Array", "ReadonlyArray", "Set", "ReadonlySet", "Iterable"})
_MAPS = frozenset({"Record", "Map", "ReadonlyMap"})
_SAME = frozenset({"Readonly", "Required", "NonNullable"})


@dataclass(frozen=True, slots=True)
class JsDoc:
    """`params` and `types` by the argument's name; a dotted name is a field of an argument."""

    text: str = ""
    params: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


def jsdoc(comment: str) -> JsDoc:
    if len(comment) > MAX_DOCSTRING:
        raise SourceRefused(f"A JSDoc comment has more than {MAX_DOCSTRING} characters: shorten it.")
    lines = [re.sub(r"^\s*\*? ?", "", line) for line in comment[3:-2].splitlines()]
    parts = re.split(r"^(?=@)", "\n".join(lines), flags=re.MULTILINE)
    params, types = {}, {}
    for tag in filter(None, map(_TAG.match, parts)):
        params[tag["name"]] = " ".join(tag["text"].split())
        if tag["type"]:
            types[tag["name"]] = tag["type"]
    text = "" if parts[0].startswith("@") else parts[0].strip()
    return JsDoc(text, params, types)


class TsTypes:
    """Reads types from tokens. What the source declares as interface, type or enum is known by its name."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._declared = {match[2]: match for match in _DECLARED.finditer(source)}
        self._open: list[str] = []
        self.room = Room()

    def text(self, text: str, where: str) -> Schema:
        return self.read(Tokens(text, 0), where)

    def read(self, tokens: Tokens, where: str) -> Schema:
        """A whole type, its unions included. Raises SourceRefused, which names `where`."""
        with self.room.inside(where):
            tokens.take("|")
            members = [self._postfix(tokens, where)]
            while tokens.take("|"):
                members.append(self._postfix(tokens, where))
            if tokens.peek().text in ("&", "=>"):
                raise SourceRefused(f"{where}: its type cannot be told to a model; write it out as one interface.")
            return _joined(members)

    def _postfix(self, tokens: Tokens, where: str) -> Schema:
        tokens.take("readonly")
        found = self._single(tokens, where)
        while tokens.peek().text == "[" and tokens.peek(1).text == "]":
            tokens.next()
            tokens.next()
            found = {"type": "array", "items": found}
        return found

    def _single(self, tokens: Tokens, where: str) -> Schema:
        token = tokens.next()
        if token.kind in ("text", "number") or token.text in ("true", "false"):
            return of_values([_value(token, where)])
        if token.text == "(":
            found = self.read(tokens, where)
            tokens.expect(")", where)
            return found
        if token.text == "{":
            return self._object(tokens, where)
        if token.text == "[":
            return self._tuple(tokens, where)
        if token.kind != "name":
            raise SourceRefused(f"{where}: “{token.text[:40]}” begins no type.")
        return self._named(token.text, tokens, where)

    def _named(self, name: str, tokens: Tokens, where: str) -> Schema:
        arguments: list[Schema] = []
        if tokens.take("<"):
            while not arguments or tokens.take(","):
                arguments.append(self.read(tokens, where))
            tokens.expect(">", where)
        if name in self._declared:
            return self._declaration(name, where)
        if name in _PLAIN:
            return dict(_PLAIN[name])
        if name in _LISTS:
            return {"type": "array", "items": arguments[0] if arguments else {}}
        if name in _MAPS and len(arguments) == 2:
            return {"type": "object", "additionalProperties": arguments[1] or True}
        if name in _SAME and len(arguments) == 1:
            return arguments[0]
        if name == "Partial" and len(arguments) == 1:
            return {**arguments[0], "required": []}
        raise SourceRefused(
            f"{where}: the type {name[:80]} cannot be written as JSON schema; use string, number, boolean, arrays, "
            "Record, unions of literals, or an interface, type or enum of the source, or send json_schema."
        )

    def _declaration(self, name: str, where: str) -> Schema:
        if name in self._open:
            raise SourceRefused(f"{where}: {name} holds itself; a model cannot be told of a type without end.")
        match = self._declared[name]
        tokens = Tokens(self._source, match.end())
        self._open.append(name)
        try:
            if match[1] == "type":
                tokens.expect("=", f"type {name}")
                return self.read(tokens, where)
            if match[1] == "interface" and tokens.peek().text in ("extends", "<"):
                raise SourceRefused(f"{where}: {name} extends another type or is generic; write its fields out.")
            tokens.expect("{", f"{match[1]} {name}")
            return self._enum(tokens, where) if match[1] == "enum" else self._object(tokens, where)
        finally:
            self._open.pop()

    def _object(self, tokens: Tokens, where: str) -> Schema:
        """Its opening brace has been read."""
        properties: dict[str, Schema] = {}
        required: list[str] = []
        about = tokens.doc()
        while not tokens.take("}"):
            tokens.take("readonly")
            key = tokens.next()
            if key.text == "[":
                return self._index(tokens, where)
            name = _value(key, where) if key.kind == "text" else key.text
            place = f"{where}, field '{name}'"
            optional = tokens.take("?")
            tokens.expect(":", place)
            found = self.read(tokens, place)
            properties[name] = described(without_null(found) if optional else found, jsdoc(about).text if about else "")
            if not optional:
                required.append(name)
            while tokens.take(";", ","):
                pass
            about = tokens.doc()
        return object_of(properties, required)

    def _index(self, tokens: Tokens, where: str) -> Schema:
        """`{ [key: string]: T }`, its opening bracket read."""
        tokens.skip_until("]")
        tokens.expect("]", where)
        tokens.expect(":", where)
        found = self.read(tokens, where)
        tokens.take(";", ",")
        tokens.expect("}", where)
        return {"type": "object", "additionalProperties": found or True}

    def _tuple(self, tokens: Tokens, where: str) -> Schema:
        items: list[Schema] = []
        while not tokens.take("]"):
            if tokens.peek(1).text == ":":  # a label
                tokens.next()
                tokens.next()
            items.append(self.read(tokens, where))
            tokens.take(",")
        return {"type": "array", "items": _joined(items), "minItems": len(items), "maxItems": len(items)}

    def _enum(self, tokens: Tokens, where: str) -> Schema:
        values: list[Any] = []
        tokens.doc()
        while not tokens.take("}"):
            tokens.next()
            value: Any = values[-1] + 1 if values and isinstance(values[-1], int) else 0
            values.append(_value(tokens.next(), where) if tokens.take("=") else value)
            tokens.take(",")
            tokens.doc()
            if tokens.peek().kind == "end":
                raise SourceRefused(f"{where}: its enum has no end.")
        self.room.take(len(values), where)
        return of_values(values)


def described(schema: Schema, about: str) -> Schema:
    return {**schema, "description": about} if about else schema


def _joined(members: list[Schema]) -> Schema:
    """Literals that stand side by side become one list of values."""
    values = [value for member in members if "enum" in member for value in member["enum"]]
    rest = [member for member in members if "enum" not in member]
    return union([*([of_values(values)] if values else []), *rest] or [{}])


def _value(token: Token, where: str) -> Any:
    try:
        if token.kind == "text":
            quoted = token.text[1:-1].replace("\\'", "'")
            return json.loads('"' + re.sub(r'(?<!\\)"', r"\"", quoted) + '"', strict=False)
        return json.loads(token.text)
    except ValueError:
        raise SourceRefused(f"{where}: “{token.text[:40]}” is no plain value.") from None
