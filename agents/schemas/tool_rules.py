"""Tool rules on the wire: which tool may follow which, told apart by `type`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agents.schemas.base import Wire

ToolName = Annotated[str, Field(min_length=1, max_length=100)]


class _Rule(Wire):
    tool_name: ToolName
    prompt_template: str | None = None


class InitRule(_Rule):
    type: Literal["run_first"] = "run_first"
    args: dict[str, Any] | None = None


class ChildArgs(Wire):
    name: ToolName
    args: dict[str, Any] | None = None


class ChildRule(_Rule):
    type: Literal["constrain_child_tools"] = "constrain_child_tools"
    children: list[ToolName]
    child_arg_nodes: list[ChildArgs] | None = None


class ParentRule(_Rule):
    type: Literal["parent_last_tool"] = "parent_last_tool"
    children: list[ToolName]


class ConditionalRule(_Rule):
    type: Literal["conditional"] = "conditional"
    default_child: str | None = None
    child_output_mapping: dict[str, str]
    require_output_mapping: bool = False


class TerminalRule(_Rule):
    type: Literal["exit_loop"] = "exit_loop"


class ContinueRule(_Rule):
    type: Literal["continue_loop"] = "continue_loop"


class MaxCountRule(_Rule):
    type: Literal["max_count_per_step"] = "max_count_per_step"
    max_count_limit: int = Field(ge=0, le=10_000)


class RequiredBeforeExitRule(_Rule):
    type: Literal["required_before_exit"] = "required_before_exit"


class RequiresApprovalRule(_Rule):
    type: Literal["requires_approval"] = "requires_approval"


ToolRule = Annotated[
    InitRule
    | ChildRule
    | ParentRule
    | ConditionalRule
    | TerminalRule
    | ContinueRule
    | MaxCountRule
    | RequiredBeforeExitRule
    | RequiresApprovalRule,
    Field(discriminator="type"),
]
