"""A world to look at: organizations with people, agents, memory, conversations, runs, steps and their traces.

The same `number` makes the same texts; ids are new each time. Rows are made through the ORM, traces with the shipper's
own statements, so that what is seen is what the real server writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import uuid4

from accounts.actions import NewKey, create_api_key
from accounts.models import ApiKey, Membership, Organization, Project, Role, User
from agents.memory import Actor, NewBlock, attach_blocks, change_block, create_blocks
from agents.models import Agent, AgentTool, Archive, Block, Passage, RevisionActor, Tool, ToolType
from conversations.models import Conversation, Message, Run, RunStatus, Step, StepStatus
from core.time import now
from telemetry.client import connect
from telemetry.inserter import INSERT_PAYLOADS, INSERT_TRACES
from telemetry.trace import CallEnd, CallStart, end_row, start_row

PASSWORD = "correct horse battery"
MODELS = (
    ("openai", "gpt-5-mini", "base", Decimal("0.00000025"), Decimal("0.000002")),
    ("anthropic", "claude-sonnet-4-5", "byok", Decimal("0.000003"), Decimal("0.000015")),
    ("ollama", "qwen3:8b", "base", None, None),
)
SAID = (
    ("Good morning! I'm Ada. What do you know about me?", "Good morning, Ada. We have not met before: tell me more."),
    (
        "I moved to Lisbon last week, and I work on compilers.",
        "Lisbon is a fine choice. I have noted both, so that I remember them the next time.",
    ),
    (
        "Can you summarise what we decided about the garden?",
        "Three beds: tomatoes in the sun, herbs beside the door, and **nothing** under the fig tree.\n\n1. Order seeds"
        "\n2. Build the frame\n3. Water at dawn",
    ),
    (
        "Which of these two functions is faster, and why?",
        "The second: it touches each row once.\n\n    for row in rows:\n        total += row.amount\n\nThe first sorts.",
    ),
)
PERSONA = "I am Flora, a calm and exact assistant.\nI remember what people tell me.\nI never guess a date."


@dataclass(slots=True)
class Seeded:
    """One organization and what is in it."""

    organization: Organization
    owner: User
    project: Project
    key: ApiKey
    secret: str
    agents: list[Agent] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    archive: Archive | None = None
    passages: list[Passage] = field(default_factory=list)
    trace_ids: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Size:
    agents: int = 3
    turns: int = 4
    days: int = 7


def person(email: str, organization: Organization | None = None, role: str = Role.VIEWER, **fields: Any) -> User:
    user = User.objects.create_user(email, PASSWORD, is_staff=True, **fields)
    if organization is not None:
        Membership.objects.create(organization=organization, user=user, role=role)
    return user


def base_tool() -> Tool:
    schema = {
        "name": "memory_insert",
        "description": "Insert text into a memory block.",
        "parameters": {
            "type": "object",
            "properties": {"label": {"type": "string"}, "new_string": {"type": "string"}},
            "required": ["label", "new_string"],
        },
    }
    tool, _ = Tool.objects.get_or_create(
        name="memory_insert",
        organization=None,
        defaults={
            "tool_type": ToolType.MEMORY_CORE,
            "description": schema["description"],
            "json_schema": schema,
            "tags": ["letta_core"],
        },
    )
    return tool


def seed(name: str = "Northwind", *, size: Size = Size(), number: int = 1, clickhouse_url: str = "") -> Seeded:
    """One organization, with `size.agents` agents of `size.turns` turns each, spread over the last `size.days` days."""
    dice = Random(number)
    organization = Organization.objects.create(name=name)
    owner = person(f"owner@{name.lower().replace(' ', '')}.example", organization, Role.OWNER, name=f"Olive {name}")
    project = Project.objects.create(organization=organization, name="Support")
    key, secret = create_api_key(organization, owner, NewKey(name="Production", project=project))
    world = Seeded(organization, owner, project, key, secret)
    tool = base_tool()
    traces: list[tuple[list[Any], tuple[bytes, bytes, bytes]]] = []
    for i in range(size.agents):
        agent = _agent(world, i, tool)
        for turn in range(size.turns):
            at = now() - timedelta(days=size.days * (1 - (turn + 1) / size.turns), minutes=7 * i + dice.randint(1, 50))
            traces += _turn(world, agent, turn, at, dice)
    _archive(world)
    if clickhouse_url:
        write_traces(clickhouse_url, traces)
    world.trace_ids = [row[0] for row, _ in traces]
    return world


def write_traces(url: str, traces: list[tuple[list[Any], tuple[bytes, bytes, bytes]]]) -> None:
    client = connect(url)
    client.execute(
        INSERT_TRACES, [list(column) for column in zip(*(row for row, _ in traces), strict=True)], columnar=True
    )
    client.disconnect()
    client = connect(url, settings={"strings_as_bytes": True})
    rows = [(row[0].encode(), row[1].encode(), row[18], *payloads) for row, payloads in traces]
    client.execute(INSERT_PAYLOADS, [list(column) for column in zip(*rows, strict=True)], columnar=True)
    client.disconnect()


def _agent(world: Seeded, i: int, tool: Tool) -> Agent:
    provider, model, *_ = MODELS[i % len(MODELS)]
    agent = Agent.objects.create(
        organization=world.organization,
        project=world.project,
        name=("Flora", "Ledger", "Scout")[i % 3] + ("" if i < 3 else f" {i}"),
        description=("Remembers the garden.", "Answers about invoices.", "Reads the news.")[i % 3],
        system="You are a helpful agent with memory.",
        model=f"{provider}/{model}",
        tags=["demo", f"team-{i % 2}"],
        created_by_id=str(world.owner.pk),
    )
    AgentTool.objects.create(agent=agent, tool=tool)
    by = Actor(RevisionActor.API, str(world.owner.pk), "blocks.create")
    new = [
        NewBlock(label="persona", value=PERSONA, description="Who the agent is.", limit=5_000),
        NewBlock(label="human", value="Name: unknown.", description="What is known of the person.", limit=2_000),
    ]
    blocks = create_blocks(str(world.organization.pk), new, by)
    attach_blocks(str(agent.pk), blocks)
    human = blocks[1]
    for value, reason in (
        ("Name: Ada.", "memory_replace"),
        ("Name: Ada.\nLives in Lisbon.\nWorks on compilers.", "memory_insert"),
    ):
        change_block(
            str(human.pk),
            str(world.organization.pk),
            {"value": value},
            Actor(RevisionActor.AGENT, str(agent.pk), reason),
        )
    world.agents.append(agent)
    world.blocks += blocks
    world.conversations.append(
        Conversation.objects.create(organization=world.organization, agent=agent, is_default=True)
    )
    return agent


def _archive(world: Seeded) -> None:
    archive = Archive.objects.create(organization=world.organization, name="Garden notes", description="What grew.")
    texts = ("Tomatoes want sun and little wind.", "The fig tree drops leaves in November.", "Water at dawn.")
    world.archive = archive
    world.passages = [
        Passage.objects.create(organization=world.organization, archive=archive, text=text, tags=["garden"])
        for text in texts
    ]
    world.agents[0].archives.add(archive)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One turn as it is being made."""

    world: Seeded
    run: Run
    at: datetime
    dice: Random
    asked: str
    call: dict[str, str]
    failed: bool


def _turn(world: Seeded, agent: Agent, number: int, at: datetime, dice: Random) -> list[Any]:
    """A question, a memory edit, the answer: one run of two steps. Every fourth turn fails."""
    conversation = next(c for c in world.conversations if c.agent_id == agent.pk)
    asked, answered = SAID[number % len(SAID)]
    failed = number % 4 == 3
    run = Run.objects.create(
        organization=world.organization,
        project=world.project,
        agent=agent,
        conversation=conversation,
        status=RunStatus.FAILED if failed else RunStatus.COMPLETED,
        stop_reason="llm_api_error" if failed else "end_turn",
        input=[{"role": "user", "content": asked}],
        trace_id=f"{dice.getrandbits(128):032x}",
        api_key_id=str(world.key.pk),
        step_count=1 if failed else 2,
        started_at=at,
        completed_at=at + timedelta(seconds=3.4),
        created_at=at,
        ttft_ms=None if failed else 380 + dice.randint(0, 120),
        error={"type": "Overloaded", "message": "The vendor is overloaded: 529.", "status": 503} if failed else None,
    )
    world.runs.append(run)
    arguments = json.dumps({"label": "human", "new_string": asked})
    call = {"id": f"call_{number}", "name": "memory_insert", "arguments": arguments}
    turn = _Turn(world, run, at, dice, asked, call, failed)
    traces = [_step(turn, 1, None)]
    if not failed:
        traces.append(_step(turn, 2, answered))
    steps = world.steps[-len(traces) :]
    run.usage = {name: sum(s.usage[name] for s in steps) for name in ("input", "cache_read", "output")}
    priced = [s.cost_usd for s in steps if s.cost_usd is not None]
    run.cost_usd = sum(priced, Decimal(0)) if len(priced) == len(steps) else None
    run.save()
    _messages(turn, None if failed else answered)
    return traces


def _step(turn: _Turn, index: int, said: str | None) -> Any:
    """The step's row, its trace's row and payloads. `said` None: it calls the tool."""
    provider, model, category, price_in, price_out = MODELS[turn.world.agents.index(turn.run.agent) % len(MODELS)]
    failed, dice = turn.failed, turn.dice
    at = turn.at + timedelta(seconds=1.6 * (index - 1))
    tokens, out, cached = 1_000 + dice.randint(0, 900), dice.randint(40, 300), dice.choice([0, 512, 1024])
    cost = None if price_in is None or failed else price_in * (tokens + cached // 10) + (price_out or 0) * out
    step = Step.objects.create(
        organization=turn.world.organization,
        run=turn.run,
        agent=turn.run.agent,
        index=index,
        status=StepStatus.FAILED if failed else StepStatus.SUCCESS,
        model=model,
        model_handle=f"{provider}/{model}",
        provider_name=provider,
        provider_type=provider,
        provider_category=category,
        usage={"input": tokens, "cache_read": cached, "output": 0 if failed else out},
        cost_usd=cost,
        price_source="" if cost is None else "genai-prices 0.2.3",
        stop_reason="error" if failed else ("tool_calls" if said is None else "end_turn"),
        tools_used=["memory_insert"] if said is None and not failed else [],
        trace_call_id=str(uuid4()),
        error_type="Overloaded" if failed else None,
        error_data={"message": "The vendor is overloaded: 529."} if failed else None,
        started_at=at,
        created_at=at,
        model_ms=1_200 + dice.randint(0, 350),
        ttft_ms=300 + dice.randint(0, 200),
        tools_ms=14 if said is None and not failed else None,
        total_ms=1_590,
    )
    turn.world.steps.append(step)
    return _trace(turn, step, _payloads(turn, model, said))


def _trace(turn: _Turn, step: Step, payloads: tuple[bytes, bytes]) -> Any:
    """The row and payloads of the step's model call, as they go into ClickHouse."""
    request, response = payloads
    start = CallStart(
        id=step.trace_call_id,
        organization_id=str(turn.world.organization.pk),
        project_id=str(turn.world.project.pk),
        agent_id=str(turn.run.agent_id),
        agent_tags=tuple(turn.run.agent.tags),
        conversation_id=str(turn.run.conversation_id),
        run_id=str(turn.run.pk),
        step_id=str(step.pk),
        trace_id=turn.run.trace_id,
        call_type="agent_step",
        provider=step.provider_type,
        provider_name=step.provider_name,
        provider_category=step.provider_category,
        model=step.model,
        created_at=step.started_at,
        request_json=request,
        api_key_id=str(turn.world.key.pk),
    )
    end = CallEnd(
        response_json=response,
        input_tokens=step.usage["input"],
        cache_read_tokens=step.usage["cache_read"] or None,
        output_tokens=step.usage["output"],
        cost_usd=step.cost_usd,
        price_source=step.price_source or "unpriced",
        latency_ms=step.model_ms or 0,
        ttft_ms=None if turn.failed else step.ttft_ms,
        finish_reason="" if turn.failed else "stop",
        error_type=step.error_type or "",
        error_message="The vendor is overloaded: 529." if turn.failed else "",
    )
    return [*start_row(start), *end_row(end)], (request, response, b"{}")


def _payloads(turn: _Turn, model: str, said: str | None) -> tuple[bytes, bytes]:
    """What Chat Completions is sent, and answers."""
    system = f"You are a helpful agent with memory.\n\n<memory>\n{PERSONA}\n</memory>"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": turn.asked}]
    function = {"name": turn.call["name"], "arguments": turn.call["arguments"]}
    answer: dict[str, Any] = {"role": "assistant", "content": said}
    if said is None:
        answer["tool_calls"] = [{"id": turn.call["id"], "type": "function", "function": function}]
    request = json.dumps({"model": model, "stream": True, "messages": messages}).encode()
    response = json.dumps({"model": model, "choices": [{"index": 0, "message": answer}]}).encode()
    return request, b"" if turn.failed else response


def _messages(turn: _Turn, answered: str | None) -> None:
    conversation, call, asked = turn.run.conversation, turn.call, turn.asked
    rows: list[dict[str, Any]] = []
    if conversation.next_seq == 0:
        text = f"You are a helpful agent.\n\n{PERSONA}"
        rows.append({"role": "system", "content": [_text(text)], "text": text})
    rows.append({"role": "user", "content": [_text(asked)], "text": asked, "in_context": answered is not None})
    if answered is not None:
        thought = {"type": "reasoning", "text": "The user told me something worth keeping. I write it down first."}
        rows.append({"role": "assistant", "content": [thought], "tool_calls": [call]})
        returned = {
            "tool_call_id": call["id"],
            "name": call["name"],
            "content": "Inserted at line 2.",
            "is_error": False,
        }
        rows.append({"role": "tool", "tool_returns": [returned]})
        rows.append(
            {"role": "assistant", "content": [_text(answered)], "text": answered, "model": turn.run.agent.model}
        )
    for number, row in enumerate(rows):
        Message.objects.create(
            organization=turn.world.organization,
            agent=turn.run.agent,
            conversation=conversation,
            run=turn.run,
            seq=conversation.next_seq,
            created_at=turn.at + timedelta(milliseconds=700 * number),
            **row,
        )
        conversation.next_seq += 1
    conversation.last_message_at = turn.at
    conversation.context_tokens = 2_431
    conversation.save()


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
