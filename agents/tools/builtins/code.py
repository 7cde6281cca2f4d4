"""`run_code`: what a model writes, run in the sandbox; it has no network, and nothing of it is kept."""

from __future__ import annotations

import json
from pathlib import Path

from agents.models import ToolType
from agents.sandbox.base import Call, Language, Outcome
from agents.sandbox.configured import sandbox
from agents.tools.arguments import clean
from agents.tools.base import Args, ToolContext, ToolError
from agents.tools.external import ExternalReturn, ExternalTool, ToolRow, always
from agents.tools.source_runs import printed
from core.db import release_connection

_FOLDER = Path(__file__).parent
_LANGUAGES: dict[str, tuple[Language, str]] = {
    "python": ("python", "code_python.py"),
    "js": ("typescript", "code_node.mjs"),
    "ts": ("typescript", "code_node.mjs"),
}


def run_code(context: ToolContext, tool: ToolRow, args: Args) -> ExternalReturn:
    """The code gets none of the agent's secrets: what it prints is read by a model."""
    name = args["language"]
    if name not in _LANGUAGES:
        raise ToolError(f"this server cannot run {name}: write it in one of {', '.join(_LANGUAGES)}")
    language, runner = _LANGUAGES[name]
    call = Call(
        source=(_FOLDER / runner).read_text(encoding="utf-8"),
        function="run",
        args={"code": args["code"]} if language == "python" else {"code": args["code"], "language": name},
        language=language,
        order=("code", "language"),
    )
    release_connection()
    outcome = sandbox().run(call, context.abandoned)
    stdout, stderr = printed(outcome)
    return ExternalReturn(
        content=_told(outcome),
        is_error=outcome.failure is not None,
        stdout=stdout or None,
        stderr=stderr or None,
    )


def _told(outcome: Outcome) -> str:
    failure = outcome.failure
    said = {
        "result": outcome.value,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "error": (failure.traceback or failure.message) if failure else None,
    }
    return clean(json.dumps({key: text for key, text in said.items() if text}, ensure_ascii=False))


RUN_CODE = ExternalTool(ToolType.BUILTIN, run_code, always, name="run_code")
