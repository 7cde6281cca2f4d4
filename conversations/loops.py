"""The loop breaker: a model that asks for the same tool with the same arguments again and again ends its run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from agents.loop import Answer
from budgets import limits
from budgets.facts import Facts
from budgets.models import LimitKind, RateLimit, Scope
from conversations.turn import Work
from core.errors import AppError

Called = tuple[str, str]
_NEAREST = (Scope.AGENT, Scope.PROJECT, Scope.ORGANIZATION)


class ToolLoop(AppError):
    code = "tool_loop"
    status = 409


def check(work: Work, answer: Answer) -> None:
    """Before the step's calls are executed. Raises ToolLoop where one of them is the last of too many in a row."""
    if not answer.calls:
        return
    most = limit_of(work)
    if not most:
        return
    last, times = _tail(work)
    for call in answer.calls:
        this = (call.name, _plain(call.arguments))
        last, times = this, times + 1 if this == last else 1
        if times >= most:
            raise ToolLoop(
                f"The model called {call.name} with the same arguments {times} times in a row; the run was ended. "
                "Change the agent's instructions or the tool, or raise the limit of equal tool calls in a row.",
                extra={"code": ToolLoop.code, "tool": call.name, "times": times},
            )


def limit_of(work: Work) -> int:
    """The nearest rule counts: the agent's, its project's, the organization's, the installation's. 0: no limit."""
    run = work.run
    facts = Facts(
        organization_id=run.organization_id,
        project_id=run.project_id or work.agent.project_id or "",
        agent_id=run.agent_id,
    )
    found: list[RateLimit] = [limit for limit, _ in limits.applying(facts, LimitKind.TOOL_REPEATS)]
    if not found:
        return int(settings.TOOL_LOOP_LIMIT)
    return min(found, key=lambda limit: (_NEAREST.index(Scope(limit.scope)), limit.amount)).amount


def _tail(work: Work) -> tuple[Called | None, int]:
    """The last call of this turn so far, and how many times in a row it was made."""
    last, times = None, 0
    for called in _backwards(work):
        if last is not None and called != last:
            break
        last, times = called, times + 1
    return last, times


def _backwards(work: Work) -> Iterator[Called]:
    """The calls of this turn, the newest first."""
    for entry in reversed(work.history.seen):
        row: Mapping[str, Any] = entry.row
        if row["run_id"] not in work.runs:
            return
        for call in reversed(row["tool_calls"] or ()):
            yield call["name"], _plain(call["arguments"])


def _plain(arguments: str) -> str:
    """Equal for equal arguments, however the model spaced and ordered them."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except ValueError:
        return arguments
