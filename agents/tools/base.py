"""What a tool of this server is: a schema the model reads, and an effect inside the step's transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.model_calls import CallContext

_SCHEMAS = Path(__file__).parent / "schemas"
Args = Mapping[str, Any]


class ToolError(Exception):
    """A failure that the model can mend; the message is for the model."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """On whose behalf a call runs. `model_calls`: what the trace says of a model call that the tool makes.

    Of a call outside the transaction: `idempotency_key` is the same however often the call is made, `abandoned` says
    that nobody waits for it any more. `depth`: how many tools have sent a message between the first sender and it.
    """

    organization_id: str
    agent_id: str
    conversation_id: str
    run_id: str = ""
    step_id: str = ""
    tool_call_id: str = ""
    timezone: str = "UTC"
    now: datetime
    model_calls: CallContext | None = None
    idempotency_key: str = ""
    abandoned: Callable[[], bool] = bool
    depth: int = 0


def nothing(context: ToolContext, args: Args) -> object:
    return None


@dataclass(frozen=True)
class BaseTool:
    """`apply` runs inside the step's transaction: its effect commits or vanishes with the step's messages, so that a
    worker killed at any moment doubles nothing. It must not touch the network. What needs the network (an embedding)
    is done before, in `prepare`, outside any transaction; `apply` gets its result. None: the tool acts outside the
    database, as `agents.tools.external` tells.

    `edits`: the name of the argument that holds the label of the block which the tool changes.
    """

    name: str
    tool_type: str
    apply: Callable[[ToolContext, Args, Any], str] | None
    prepare: Callable[[ToolContext, Args], object] = nothing
    parallel: bool = False
    edits: str | None = None

    @cached_property
    def schema(self) -> dict[str, Any]:
        """Name, description and parameters, as a model is offered them."""
        return dict(json.loads((_SCHEMAS / f"{self.name}.json").read_text(encoding="utf-8")))
