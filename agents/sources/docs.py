"""Docstrings, in the styles of Google, NumPy and Sphinx: what a function does and what its arguments mean."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from docstring_parser import ParseError, parse

from agents.sources.limits import MAX_DOCSTRING, SourceRefused


@dataclass(frozen=True, slots=True)
class Docs:
    """`arguments` and `types` by the argument's name; of a class, its attributes."""

    text: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)


def docs_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Docs:
    text = ast.get_docstring(node) or ""
    if len(text) > MAX_DOCSTRING:
        raise SourceRefused(f"The docstring of {node.name} has more than {MAX_DOCSTRING} characters: shorten it.")
    try:
        parsed = parse(text)
    except ParseError:
        return Docs(text.strip())
    arguments, types = {}, {}
    for param in parsed.params:
        for name in param.arg_name.lstrip("*").split(","):
            arguments[name.strip()] = " ".join((param.description or "").split())
            if param.type_name:
                types[name.strip()] = param.type_name
    return Docs((parsed.description or "").strip(), arguments, types)
