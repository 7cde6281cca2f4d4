"""A tool's function schema: from its source, from what is given beside it, or from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agents.sources import given
from agents.sources.limits import MAX_SOURCE, Schema, SourceRefused
from agents.sources.python import PythonSource
from agents.sources.typescript import TypeScriptSource

LANGUAGES = ("python", "typescript", "json")


class Source(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    def parameters(self) -> Schema: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an author sends. `json_schema` goes before `args_json_schema`, and both before the source's own words."""

    source_code: str
    source_type: str = "python"
    json_schema: Mapping[str, Any] | None = None
    args_json_schema: Mapping[str, Any] | None = None
    description: str | None = None


def function_schema(written: Written) -> Schema:
    """Name, description and parameters, as models are given them. Raises SourceRefused."""
    function = given.function_of(written.json_schema) if written.json_schema else {}
    source = _source(written, function.get("name"))
    name = given.checked_name(function.get("name") or (source.name if source else ""))
    if "parameters" in function:
        parameters = given.parameters_of(function["parameters"], "json_schema: “parameters”")
    elif written.args_json_schema:
        parameters = given.parameters_of(written.args_json_schema, "args_json_schema")
    elif source is None:
        parameters = given.parameters_of(None, "json_schema")
    else:
        parameters = source.parameters()
    description = function.get("description") or written.description or (source.description if source else "")
    if not description:
        raise SourceRefused(f"{name} has no description: begin its docstring with what it does, or send description.")
    return given.storable({"name": name, "description": description, "parameters": parameters})


def _source(written: Written, name: str | None) -> Source | None:
    """None: not written in a language that is read here."""
    if written.source_type not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise SourceRefused(f"source_type “{written.source_type[:40]}” is not known; it is one of: {known}.")
    if written.source_type == "json":
        if name is None:
            raise SourceRefused("A tool of source_type json needs json_schema with a name.")
        return None
    if not written.source_code.strip():
        raise SourceRefused("source_code is empty: send the function that is the tool.")
    if len(written.source_code) > MAX_SOURCE:
        raise SourceRefused(f"source_code has more than {MAX_SOURCE} characters: shorten it.")
    read = PythonSource if written.source_type == "python" else TypeScriptSource
    return read(written.source_code, name)
