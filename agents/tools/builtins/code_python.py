"""What the sandbox runs for `run_code` in Python: the code, and then what its last expression is worth."""

from __future__ import annotations

import ast
import linecache
from typing import Any

FILE = "<code>"


def run(code: str) -> str | None:
    linecache.cache[FILE] = (len(code), None, code.splitlines(keepends=True), FILE)
    tree = ast.parse(code, FILE)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    scope: dict[str, Any] = {"__name__": "__main__"}
    value = None
    try:
        exec(compile(tree, FILE, "exec", dont_inherit=True), scope)  # noqa: S102 -- it is what this is for
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), FILE, "eval", dont_inherit=True), scope)  # noqa: S307
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    return None if value is None else repr(value)
