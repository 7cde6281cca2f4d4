"""Rows as a worker would have left them, made through the ORM alone: agents, conversations, turns."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from accounts.models import Organization
from agents.models import Agent
from conversations.models import Conversation, Message, Run, RunStatus, Step
from core.time import now

_numbers = itertools.count(1)
HANDLE = "scripted/demo"
USAGE = {
    "input": 100,
    "cache_read": 40,
    "cache_write_5m": 7,
    "cache_write_1h": 3,
    "output": 20,
    "reasoning": 5,
    "estimated": False,
}
COST = Decimal("0.000123456789")


@dataclass(slots=True)
class Turn:
    """What one send left: its run, its steps, its messages in their order."""

    run: Run
    steps: list[Step] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


def make_agent(organization: Organization, **fields: Any) -> Agent:
    """With its default conversation, which holds the system message."""
    known = {"name": f"agent {next(_numbers)}", "model": HANDLE, "system": "You are a helpful agent."}
    agent = Agent.objects.create(organization=organization, **(known | fields))
    make_conversation(agent, is_default=True)
    return agent


def make_conversation(agent: Agent, **fields: Any) -> Conversation:
    conversation = Conversation.objects.create(organization_id=agent.organization_id, agent=agent, **fields)
    say(conversation, "system", "You are a helpful agent.")
    return conversation


def default_of(agent: Agent) -> Conversation:
    return Conversation.objects.select_related("agent").get(agent=agent, is_default=True)


def say(conversation: Conversation, role: str, text: str = "", **fields: Any) -> Message:
    """One stored message, behind those that are there."""
    content = [{"type": "text", "text": text}] if text else []
    message = Message.objects.create(
        organization_id=conversation.organization_id,
        agent_id=conversation.agent_id,
        conversation=conversation,
        seq=conversation.next_seq,
        role=role,
        **({"content": content, "text": text} | fields),
    )
    conversation.next_seq += 1
    conversation.save(update_fields=["next_seq"])
    return message


def make_run(conversation: Conversation, **fields: Any) -> Run:
    ended = fields.get("status") not in (RunStatus.QUEUED, RunStatus.RUNNING)
    created_at = now()
    known = {
        "created_at": created_at,
        "status": RunStatus.COMPLETED,
        "stop_reason": "end_turn" if ended else None,
        "trace_id": f"{next(_numbers):032x}",
        "usage": USAGE if ended else {},
        "cost_usd": COST if ended else None,
        "step_count": 1 if ended else 0,
        "ttft_ms": 12 if ended else None,
        "completed_at": created_at + timedelta(milliseconds=250) if ended else None,
    }
    return Run.objects.create(
        organization_id=conversation.organization_id,
        agent_id=conversation.agent_id,
        conversation=conversation,
        **(known | fields),
    )


def make_step(run: Run, index: int = 0, **fields: Any) -> Step:
    known = {
        "status": "success",
        "model": "demo",
        "model_handle": HANDLE,
        "provider_name": "scripted",
        "provider_type": "scripted",
        "provider_category": "base",
        "context_window_limit": 32_000,
        "usage": USAGE,
        "cost_usd": COST,
        "price_source": "genai-prices",
        "stop_reason": "end_turn",
        "started_at": now(),
        "model_ms": 90,
        "ttft_ms": 12,
        "tools_ms": 3,
        "total_ms": 100,
    }
    return Step.objects.create(
        organization_id=run.organization_id, run=run, agent_id=run.agent_id, index=index, **(known | fields)
    )


def make_turn(conversation: Conversation, asked: str = "Hello", answered: str = "Hi", **run: Any) -> Turn:
    """A question and its answer: one run of one step."""
    turn = Turn(make_run(conversation, **run))
    turn.steps.append(make_step(turn.run))
    of = {"run": turn.run, "step": turn.steps[0]}
    turn.messages = [
        say(conversation, "user", asked, otid="11111111-2222-4333-8444-555555555555", **of),
        say(conversation, "assistant", answered, model=HANDLE, **of),
    ]
    return turn


def make_tool_turn(conversation: Conversation) -> Turn:
    """A question, thought about, answered with the help of a tool: one run of two steps."""
    turn = Turn(make_run(conversation, step_count=2))
    first = make_step(turn.run, 0, stop_reason=None, tools_used=["memory_insert"])
    second = make_step(turn.run, 1, tools_ms=None)
    turn.steps = [first, second]
    call = {"id": "call_1", "name": "memory_insert", "arguments": '{"label": "human", "new_string": "Ada"}'}
    thought = {"type": "reasoning", "text": "A name: I keep it.", "signature": "s1"}
    returned = {"tool_call_id": "call_1", "name": "memory_insert", "content": "Name: Ada", "is_error": False}
    spoken = [thought, {"type": "text", "text": "One moment."}]
    run = turn.run
    turn.messages = [
        say(conversation, "user", "I am Ada", run=run, step=first),
        say(conversation, "assistant", content=spoken, text="One moment.", tool_calls=[call], run=run, step=first),
        say(conversation, "tool", tool_returns=[returned], name="memory_insert", run=run, step=first),
        say(conversation, "assistant", "Welcome, Ada.", run=run, step=second),
    ]
    return turn
