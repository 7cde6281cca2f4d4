"""Tools that act outside the database: sandboxed code, MCP servers, the web.

Such a tool runs outside any transaction, between two commits of its step. The first commit holds the model's answer and
what is about to be called, the second what came of it; so a worker that dies in between loses neither, and no call is
made twice (decision 0029).

Which tools these are is registered, by `tool_type`, or by `tool_type` and name:

    register(ExternalTool("external_mcp", run=call_mcp))
    register(ExternalTool("letta_builtin", name="run_code", run=run_code, repeatable=always))

in a module `external_tools` of any Django app, which is imported at start-up as `admin` modules are. A call of a
registered tool then takes this way whoever asks for it: the model, or a human who approves it.

`run(context, tool, args)`

- is called after the arguments were read and checked against the tool's schema, and after rules and approval;
- runs without a transaction, on a thread of its own where several calls run at once. It may use the database, and gives
  its connection back (`core.db.release_connection`) before it waits for anything;
- gets in `tool` the row's columns by name: those of `OFFERED` and `EXTERNAL_COLUMNS`;
- returns an `ExternalReturn`; what is too long is cut behind it, by the tool's `return_char_limit`;
- raises ToolError (AppError and ProviderError count as one) for what the model should read as a failure;
- must end by itself, within a limit of its own; and soon after `context.abandoned()` has become true, which says that
  the run was cancelled or taken over: what it returns then is thrown away;
- should hand `context.idempotency_key` to whoever takes one.

`repeatable(tool)`: whether a call that was started may be made again when its worker died before the result was
recorded. True only where it leaves nothing behind, as a sandbox without network does. Otherwise the model is told that
the outcome is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.tools.base import Args, ToolContext

OFFERED = ("id", "name", "tool_type", "json_schema", "return_char_limit", "enable_parallel_execution")
EXTERNAL_COLUMNS = (
    "source_type",
    "source_code",
    "pip_requirements",
    "npm_requirements",
    "network",
    "client",
    "timeout_s",
    "metadata",
)
ToolRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExternalReturn:
    """What a call gave. `edits`: changes of the agent's memory blocks, by label: what the tool saw and what it wants;
    written with the step. `value`: of a custom tool, what `content` tells of."""

    content: str
    is_error: bool = False
    stdout: list[str] | None = None
    stderr: list[str] | None = None
    edits: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    value: Any = None


def never(tool: ToolRow) -> bool:
    return False


def always(tool: ToolRow) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class ExternalTool:
    """`name` empty: all tools of the type that are not registered by name."""

    tool_type: str
    run: Callable[[ToolContext, ToolRow, Args], ExternalReturn]
    repeatable: Callable[[ToolRow], bool] = never
    name: str = ""


_registered: dict[tuple[str, str], ExternalTool] = {}


def register(tool: ExternalTool) -> None:
    _registered[(str(tool.tool_type), tool.name)] = tool


def external_tool(tool_type: str, name: str) -> ExternalTool | None:
    """None: the tool acts in the step's transaction, or nowhere."""
    return _registered.get((str(tool_type), name)) or _registered.get((str(tool_type), ""))
