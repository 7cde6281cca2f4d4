"""Whether a Python tool counts on a `client` that the server gives it."""

from __future__ import annotations

import ast
from functools import lru_cache

NAME = "client"


def is_given(argument: ast.arg) -> bool:
    """A parameter of that name stands for this server's client, unless its type says that it is something else."""
    if argument.arg != NAME:
        return False
    return argument.annotation is None or "Letta" in ast.unparse(argument.annotation)


@lru_cache(512)
def counts_on_client(source: str, function: str) -> bool:
    """A parameter that must be given to the function that is called (its last one, where none has the name), or a
    name that the source has from nowhere."""
    if NAME not in source:
        return False
    try:
        module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # the model is told when it runs
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    called = ([node for node in functions if node.name == function] or functions)[-1:]
    return any(_takes(node) for node in called) or _reads(module)


def _takes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    return any(is_given(argument) for argument in (*given.args, *given.kwonlyargs))


def _reads(module: ast.Module) -> bool:
    reads = made = False
    for node in ast.walk(module):
        match node:
            case ast.Name(id="client"):
                reads, made = reads or isinstance(node.ctx, ast.Load), made or not isinstance(node.ctx, ast.Load)
            case ast.arg(arg="client") | ast.alias(asname="client") | ast.alias(name="client", asname=None):
                made = True
            case ast.FunctionDef(name="client") | ast.ClassDef(name="client") | ast.ExceptHandler(name="client"):
                made = True
    return reads and not made
