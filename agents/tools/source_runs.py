"""Runs a tool from its source, before anybody keeps it: in the sandbox, for whoever writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from agents.sandbox.base import Call, Language, Outcome
from agents.sandbox.configured import sandbox
from agents.schemas.tools import ToolRunFromSource
from agents.sources.typescript import argument_order
from agents.tools.arguments import clean
from agents.tools.packages import packages_of
from core.db import release_connection
from core.errors import BadInput, LimitExceeded

# Each holds a thread of the web server until it ends; the others are for those who wait for something short.
AT_ONCE = 4
_places = BoundedSemaphore(AT_ONCE)


def run_source(data: ToolRunFromSource) -> Outcome:
    """Raises BadInput for what no sandbox here runs, LimitExceeded when enough of them run."""
    wanted = data.model_dump(include={"pip_requirements", "npm_requirements"})
    call = Call(
        source=data.source_code,
        function=data.name,
        args=data.args,
        language=language_of(data.source_type),
        order=argument_order(data.source_code, data.name, otherwise=data.args),
        variables=data.env_vars,
        requirements=packages_of(data.source_type, wanted["pip_requirements"], wanted["npm_requirements"]).names,
    )
    with a_place():
        release_connection()
        return sandbox().run(call)


@contextmanager
def a_place() -> Iterator[None]:
    """Held while a tool is tried by hand. Raises LimitExceeded when enough of them are."""
    if not _places.acquire(blocking=False):
        raise LimitExceeded(f"{AT_ONCE} tools are being tried on this server already. Send it again in a moment.")
    try:
        yield
    finally:
        _places.release()


def language_of(source_type: str | None) -> Language:
    """Raises BadInput."""
    if source_type not in (None, "python", "typescript"):
        raise BadInput(f"Tools in {source_type[:40]} cannot be run on this server: write them in Python or TypeScript.")
    return "typescript" if source_type == "typescript" else "python"


def told(outcome: Outcome) -> str:
    """What a model reads of it."""
    if outcome.failure is not None:
        return clean(outcome.failure.message)
    return clean(outcome.value if isinstance(outcome.value, str) else json.dumps(outcome.value, ensure_ascii=False))


def printed(outcome: Outcome) -> tuple[list[str], list[str]]:
    """Its standard output and error; the traceback is the last of the errors."""
    errors = [outcome.stderr, outcome.failure.traceback if outcome.failure else ""]
    return [clean(text) for text in (outcome.stdout,) if text], [clean(text) for text in errors if text]
