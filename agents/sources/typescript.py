"""TypeScript tools: the function that the source exports, its JSDoc and its signature."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agents.sources.limits import MAX_PARAMETERS, Schema, SourceRefused, object_of, untyped, without_null
from agents.sources.ts_tokens import Token, Tokens
from agents.sources.ts_types import JsDoc, TsTypes, described, jsdoc

_EXPORTED = re.compile(
    r"^[ \t]*export[ \t]+(?:default[ \t]+)?(?:async[ \t]+)?function[ \t]*\*?[ \t]*([A-Za-z_$][\w$]*)", re.MULTILINE
)
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Argument:
    name: str
    schema: Schema
    optional: bool


class TypeScriptSource:
    """Raises SourceRefused where it exports no function, or more than one."""

    def __init__(self, source: str, name: str | None = None) -> None:
        self._source = source
        blanked = _COMMENT.sub(lambda comment: " " * len(comment.group()), source)
        found = {match[1]: match for match in _EXPORTED.finditer(blanked)}
        if name in found:
            found = {name: found[name]}
        if not found:
            raise SourceRefused("The source exports no function: write the tool as `export function name(…) { … }`.")
        if len(found) > 1:
            names = ", ".join(list(found)[:10])
            raise SourceRefused(f"The source exports several functions ({names}): export the tool alone.")
        [(self._name, self._match)] = found.items()
        before = source[: self._match.start()].rstrip()
        comment = before[before.rfind("/*") :] if before.endswith("*/") else ""
        self._docs = jsdoc(comment) if comment.startswith("/**") else JsDoc()

    @property
    def name(self) -> str:
        return self._name

    @property
    def description(self) -> str:
        return self._docs.text

    def argument_names(self) -> list[str]:
        """In the order in which the function takes them. Raises SourceRefused."""
        return [argument.name for argument in self._arguments([])]

    def parameters(self) -> Schema:
        """Raises SourceRefused, which names every argument that something is wrong with."""
        problems: list[str] = []
        found = list(self._arguments(problems))
        if len(found) > MAX_PARAMETERS:
            problems.append(f"It has {len(found)} arguments; at most {MAX_PARAMETERS} are taken.")
        for argument in found:
            if not argument.schema.get("description"):
                problems.append(
                    f"Argument '{argument.name}' has no description: add it to the JSDoc comment before the function, "
                    f"as in `@param {argument.name} - what it means`."
                )
        if problems:
            raise SourceRefused(f"No schema can be made of {self.name}. {' '.join(problems[:10])}")
        properties = {argument.name: argument.schema for argument in found}
        return object_of(properties, [argument.name for argument in found if not argument.optional])

    def _arguments(self, problems: list[str]) -> Iterator[_Argument]:
        types = TsTypes(self._source)
        tokens = Tokens(self._source, self._match.end())
        if tokens.peek().text == "<":
            raise SourceRefused(f"{self.name} is generic: write the types of its arguments out.")
        tokens.expect("(", self.name)
        tokens.doc()
        while not tokens.take(")"):
            first = tokens.next()
            if first.kind != "name":
                raise SourceRefused(f"{self.name}: “{first.text[:40]}” names no argument; give each a name of its own.")
            written = Tokens(_joined_text(tokens.skip_until(",", ")")), 0)
            try:
                yield self._argument(first.text, written, types)
            except SourceRefused as refused:
                problems.append(refused.message)
            tokens.take(",")
            tokens.doc()

    def _argument(self, name: str, written: Tokens, types: TsTypes) -> _Argument:
        """`written`: what stands behind the name."""
        where = f"Argument '{name}'"
        optional = written.take("?")
        if written.take(":"):
            found = types.read(written, where)
        elif name in self._docs.types:
            found = types.text(self._docs.types[name], where)
        elif written.peek().text == "=":
            found = _type_of(written.peek(1), where)
        else:
            raise SourceRefused(f"{where} has no type: write it as in `{name}: string`.")
        if written.take("="):
            optional, value = True, written.next()
            found = {**found, **_default(value, written)}
        found = untyped(without_null(found) if optional else found)
        return _Argument(name, described(self._fields(name, found), self._docs.params.get(name, "")), optional)

    def _fields(self, name: str, schema: Schema) -> Schema:
        """`@param options.depth` describes a field of `options`."""
        fields = {k: described(v, self._docs.params.get(f"{name}.{k}", "")) for k, v in _properties(schema).items()}
        return {**schema, "properties": fields} if fields else schema


def argument_order(source: str, name: str | None, otherwise: Iterable[str]) -> tuple[str, ...]:
    """In which order the tool's function takes its arguments; `otherwise` where its signature cannot be read."""
    try:
        return tuple(TypeScriptSource(source, name).argument_names())
    except SourceRefused:
        return tuple(otherwise)


def _properties(schema: Schema) -> dict[str, Schema]:
    return dict(schema.get("properties", {}))


def _joined_text(tokens: list[Token]) -> str:
    return " ".join(token.text for token in tokens)


def _type_of(value: Token, where: str) -> Schema:
    """Of a default that stands in place of a type."""
    if value.kind == "text":
        return {"type": "string"}
    if value.kind == "number":
        return {"type": "number"}
    if value.text in ("true", "false"):
        return {"type": "boolean"}
    raise SourceRefused(f"{where} has no type: write one before its default.")


def _default(value: Token, rest: Tokens) -> Schema:
    """Only of a plain value: an expression is no value yet."""
    if rest.peek().kind != "end":
        return {}
    if value.kind == "text" and "\\" not in value.text:
        return {"default": value.text[1:-1]}
    try:
        return {"default": json.loads(value.text)} if value.text not in ("null", "") else {}
    except ValueError:
        return {}
