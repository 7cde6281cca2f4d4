"""`docs/compatibility.md`, from what the tests saw."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.metadata import version

from tests.e2e.surface.methods import methods, route
from tests.support.parts import ROOT

PATH = ROOT / "docs" / "compatibility.md"
HEAD = """# Compatibility with letta-client

Written by `tests/e2e/test_sdk_surface.py` from what it saw: every method of `letta-client` {version} (Python), called
against a live server. **Works**: the call did what it is for, and every field of its answer is as the SDK types it.
**Later**: the route is not served yet and answers 404. *Beyond* names fields that we send and the SDK has no name for;
it keeps them in `model_extra`. What differs on purpose is told in [api.md](api.md).

{working} of {all} methods work, {later} come later.

| method | route | status | beyond |
|---|---|---|---|
"""


def written(beyond: Mapping[str, Collection[str]], later: Collection[str]) -> str:
    names = methods()
    head = HEAD.format(
        version=version("letta-client"), working=len(names) - len(later), all=len(names), later=len(later)
    )
    rows = [
        f"| `{name}` | {route(name)} | {'later' if name in later else 'works'} | {', '.join(beyond.get(name, ()))} |"
        for name in names
    ]
    return head + "\n".join(rows) + "\n"
