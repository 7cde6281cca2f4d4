"""Python tools: the last function of the source, its docstring and its signature."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from agents.sources.annotations import Types
from agents.sources.classes import class_schema, note_of
from agents.sources.clients import is_given
from agents.sources.docs import Docs, docs_of
from agents.sources.limits import MAX_PARAMETERS, Schema, SourceRefused, object_of, untyped

# Given by the server when the tool runs, as `client` is; a model knows nothing of them.
RESERVED = frozenset({"agent_id", "agent_state"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


class PythonSource:
    """Raises SourceRefused where it is no Python, or has no function that can be a tool."""

    def __init__(self, source: str, name: str | None = None) -> None:
        self._module = _parsed(source)
        self._function = _function(self._module, name)
        self._docs = docs_of(self._function)

    @property
    def name(self) -> str:
        return self._function.name

    @property
    def description(self) -> str:
        return self._docs.text

    def parameters(self) -> Schema:
        """Raises SourceRefused, which names every argument that something is wrong with."""
        types = Types(self._module, class_schema)
        problems = list(_misuses(self._function))
        properties: dict[str, Schema] = {}
        required: list[str] = []
        for argument, default in _arguments(self._function):
            if argument.arg in RESERVED or is_given(argument):
                continue
            try:
                properties[argument.arg], optional = _property(types, argument, default, self._docs)
            except SourceRefused as refused:
                problems.append(refused.message)
                continue
            except RecursionError:
                problems.append(f"Argument '{argument.arg}': its type is too deeply nested; make it simpler.")
                continue
            if not optional:
                required.append(argument.arg)
        if len(properties) > MAX_PARAMETERS:
            problems.append(f"It has {len(properties)} arguments; at most {MAX_PARAMETERS} are taken.")
        if problems:
            raise SourceRefused(f"No schema can be made of {self.name}. {' '.join(problems[:10])}")
        return object_of(properties, required)


def _parsed(source: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in the source: they are its author's
            return ast.parse(source)
    except SyntaxError as error:
        raise SourceRefused(f"The source is no Python: {error.msg} (line {error.lineno}).") from None
    except ValueError as error:
        raise SourceRefused(f"The source is no Python: {error}.") from None
    except (RecursionError, MemoryError):
        raise SourceRefused("The source is too deeply nested to be read: make it simpler.") from None


def _function(module: ast.Module, name: str | None) -> Function:
    """The last of this name, else the last of all."""
    functions = [node for node in module.body if isinstance(node, Function)]
    found = [node for node in functions if node.name == name] or functions
    if found:
        return found[-1]
    if any(isinstance(node, ast.ClassDef) for node in module.body):
        raise SourceRefused("The source has no function at its top: write the tool as a function beside its classes.")
    raise SourceRefused("The source has no function at its top: write the tool as `def name(…):` with a docstring.")


def _arguments(function: Function) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """With its default, if it has one."""
    given = function.args
    padded = [*([None] * len(given.args)), *given.defaults]
    yield from zip(given.args, padded[len(given.defaults) :], strict=True)
    yield from zip(given.kwonlyargs, given.kw_defaults, strict=True)


def _misuses(function: Function) -> Iterator[str]:
    given = function.args
    for argument in given.posonlyargs:
        yield f"Argument '{argument.arg}' is positional-only, but tools are called by name: move it behind the “/”."
    for starred, stars in ((given.vararg, "*"), (given.kwarg, "**")):
        if starred is not None:
            yield f"Argument '{stars}{starred.arg}' cannot be told to a model: name each argument, or take a list."


def _property(types: Types, argument: ast.arg, default: ast.expr | None, docs: Docs) -> tuple[Schema, bool]:
    where = f"Argument '{argument.arg}'"
    about = docs.arguments.get(argument.arg, "")
    if argument.annotation is not None:
        schema = types.schema(argument.annotation, where)
        field = ast.AnnAssign(target=ast.Name(argument.arg), annotation=argument.annotation, value=default, simple=1)
        note = note_of(field)
        found = untyped(note.over(schema))
        optional = note.optional
    elif argument.arg in docs.types:
        found, optional = types.text(docs.types[argument.arg].removesuffix(", optional"), where), default is not None
    else:
        raise SourceRefused(f"{where} has no type: write it as in `{argument.arg}: str`.")
    if about:
        found = {**found, "description": about}
    if not found.get("description"):
        raise SourceRefused(
            f"{where} has no description: add it to the docstring of the function, under “Args:”, as in "
            f"`{argument.arg}: what it means`."
        )
    return found, optional
