"""All that one step of a run needs to know, loaded in as few queries as it takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count

from agents import memory
from agents.context import (
    BlockView,
    PromptInput,
    compile_system_prompt,
    differs,
    skills_section,
    wants_line_numbers,
)
from agents.loop import Turn
from agents.model_calls import CallContext
from agents.models import Agent, AgentTool, Block, Passage
from agents.tool_rules import Called, Rules
from agents.tools.base import ToolContext
from agents.tools.execute import Offer
from agents.tools.external import EXTERNAL_COLUMNS, OFFERED, external_tool
from conversations import history as histories
from conversations.history import History
from conversations.models import Conversation, Message, Role, Run
from conversations.rows import Row, fresh_row
from core.ids import new_id
from core.time import now, to_seconds
from providers.resolve import ResolvedModel, resolve
from providers.strict import strict_form
from providers.types import Message as ModelMessage
from providers.types import TextPart, ToolCall, ToolSpec

MAX_TOOL_SETS = 10_000
MAX_SOURCE_CHARS = 50_000_000  # of tools that are remembered, all together
_tools: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
_source_chars = 0


@dataclass(slots=True, kw_only=True)
class Work:
    """One step in the making. `fresh`: rows that go into the database with the step (the input, on the first step).

    `runs`: this run, and those that it goes on from. `system_changed` None: the system prompt was not looked at.
    """

    run: Run
    runs: frozenset[str]
    agent: Agent
    conversation: Conversation
    target: ResolvedModel
    window: int
    history: History
    fresh: list[Row]
    tools: dict[str, dict[str, Any]]
    turn: Turn
    system_changed: bool | None
    started_at: datetime


def load(run: Run) -> Work:
    """Raises AppError where the agent cannot run at all: no usable provider, unknown model."""
    started_at = now()
    conversation = Conversation.objects.select_related("agent").get(pk=run.conversation_id)
    agent = conversation.agent
    handle = run.options.get("override_model") or conversation.model or agent.model
    target = resolve(agent.organization_id, handle, run.project_id or agent.project_id or "", run.identity_id)
    history = histories.load(conversation, agent.agent_type, agent.timezone)
    tools = tools_of(agent)
    work = Work(
        run=run,
        runs=turn_runs(run, conversation, history),
        agent=agent,
        conversation=conversation,
        target=target,
        window=conversation.context_window_limit or agent.context_window_limit or target.info.context_window,
        history=history,
        fresh=[] if run.step_count else input_rows(run, conversation, history.next_seq),
        tools=tools,
        turn=None,  # type: ignore[arg-type]  # made two lines below, from the rest
        system_changed=_refresh_system(conversation, agent, target, history),
        started_at=started_at,
    )
    work.turn = _turn(work)
    return work


def tools_of(agent: Agent) -> dict[str, dict[str, Any]]:
    """The agent's tools by name, as the executor wants them; remembered until the agent's prompt changes: whoever
    changes a tool touches the prompts of the agents that have it."""
    global _source_chars  # noqa: PLW0603
    key = (agent.pk, agent.prompt_version)
    tools = _tools.get(key)
    if tools is None:
        if len(_tools) >= MAX_TOOL_SETS or _source_chars >= MAX_SOURCE_CHARS:
            _tools.clear()
            _source_chars = 0
        tools = _tools[key] = _load_tools(agent)
        _source_chars += sum(len(tool.get("source_code") or "") for tool in tools.values())
    return tools


def _load_tools(agent: Agent) -> dict[str, dict[str, Any]]:
    found = AgentTool.objects.filter(agent=agent).order_by("attached_at", "id")
    columns = (*OFFERED, *EXTERNAL_COLUMNS)
    names = ("default_requires_approval", "approval_expires_s", *columns)
    rows = found.values("requires_approval", *(f"tool__{name}" for name in names))
    tools = {}
    for row in rows:
        kept = columns if external_tool(row["tool__tool_type"], row["tool__name"]) else OFFERED
        tool = {name: row[f"tool__{name}"] for name in kept}
        own = row["requires_approval"]
        tool["approval_expires_s"] = row["tool__approval_expires_s"]
        tool["requires_approval"] = row["tool__default_requires_approval"] if own is None else own
        tools[tool["name"]] = tool
    return tools


def input_rows(run: Run, conversation: Conversation, next_seq: int) -> list[Row]:
    """What was sent, as rows; it is stored with the first step, so a call that fails leaves no half turn behind."""
    sent = (row for row in run.input if row["role"] != "approval")
    return [
        fresh_row(conversation, run.created_at, **{"run_id": run.pk, "seq": next_seq + offset, **row})
        for offset, row in enumerate(sent)
    ]


def _turn(work: Work) -> Turn:
    run, history = work.run, work.history
    entries = [*history.seen, *(history.view(row) for row in work.fresh)]
    if work.agent.message_buffer_autoclear:
        entries = [entry for entry in entries if entry.row["seq"] == 0 or entry.row["run_id"] in work.runs]
    client_tools = run.options.get("client_tools") or []
    strict = is_strict(work.agent, work.conversation)
    specs = {name: spec(tool["json_schema"], strict=strict) for name, tool in work.tools.items()}
    specs |= {tool["name"]: spec(tool) for tool in client_tools}
    rules = [*work.agent.tool_rules]
    rules += [
        {"tool_name": name, "type": "requires_approval"}
        for name, tool in work.tools.items()
        if tool["requires_approval"]
    ]
    messages = tuple(entry.message for entry in entries if entry.message is not None)
    return Turn(
        step_id=run.current_step_id,
        message_id=new_id("message"),
        date=to_seconds(work.started_at),
        step_index=run.step_count,
        max_steps=run.options.get("max_steps") or 50,
        messages=_for_request(messages, run.options),
        tools=tuple(specs.values()),
        rules=Rules.parse(rules),
        called=called_in(work.runs, history),
        client_tools=frozenset(tool["name"] for tool in client_tools),
        settings=model_settings(work.agent, work.conversation, run.identity_id) | _token_details(run.options),
    )


def call_context(work: Work, call_type: str) -> CallContext:
    run = work.run
    return CallContext(
        organization_id=run.organization_id,
        call_type=call_type,
        project_id=run.project_id or work.agent.project_id or "",
        agent_id=run.agent_id,
        agent_tags=tuple(work.agent.tags),
        conversation_id=run.conversation_id,
        run_id=run.pk,
        step_id=run.current_step_id,
        trace_id=run.trace_id,
        identity_id=run.identity_id,
        api_key_id=run.api_key_id,
        billing=run.billing,
    )


def offer_of(work: Work, calls: Sequence[ToolCall]) -> Offer:
    """What may be called in this step, and why some of `calls` must not run."""
    turn = work.turn
    names = [tool.name for tool in turn.tools]
    reasons = turn.rules.refusals([call.name for call in calls], names, turn.called)
    return Offer(
        tools=work.tools,
        prefilled=turn.rules.allowed(names, turn.called).prefilled,
        refused={call.id: reason for call, reason in zip(calls, reasons, strict=True) if reason and call.name in names},
        context_window=work.window,
    )


def tool_context(work: Work, step_id: str) -> ToolContext:
    return ToolContext(
        organization_id=work.run.organization_id,
        agent_id=work.agent.pk,
        conversation_id=work.conversation.pk,
        run_id=work.run.pk,
        step_id=step_id,
        timezone=work.agent.timezone,
        now=now(),
        model_calls=call_context(work, "embedding"),
        depth=work.run.options.get("depth", 0),
    )


def _for_request(messages: tuple[ModelMessage, ...], options: Mapping[str, Any]) -> tuple[ModelMessage, ...]:
    """With a system prompt for this request alone: another one, or the stored one and the client's skills."""
    system, skills = options.get("override_system"), options.get("client_skills")
    if not system and not skills:
        return messages
    first = messages[0]
    text = system or f"{first.text}\n\n{skills_section(skills or ())}"
    return (replace(first, content=(TextPart(text),), wire={}), *messages[1:])


def _token_details(options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if options.get("return_logprobs"):
        found["top_logprobs"] = options.get("top_logprobs") or 0
    if options.get("return_token_ids"):
        found["token_ids"] = True
    return found


def spec(schema: Mapping[str, Any], *, strict: bool = False) -> ToolSpec:
    """`strict`: the model is held to the schema, where that has a strict form."""
    parameters = schema.get("parameters") or {"type": "object", "properties": {}}
    if strict and (closed := strict_form(parameters)):
        return ToolSpec(schema["name"], schema.get("description") or "", closed, strict=True)
    return ToolSpec(schema["name"], schema.get("description") or "", parameters)


def turn_runs(run: Run, conversation: Conversation, history: History) -> frozenset[str]:
    """An approval comes as a run of its own, but goes on with the turn of the run that asked for it."""
    if not answers_approval(run):
        return frozenset({run.pk})
    runs, requests = {run.pk}, {conversation.pending_approval_id}
    for entry in reversed(history.seen):
        row = entry.row
        if row["id"] in requests:
            runs.add(row["run_id"])
        if row["run_id"] not in runs:
            break
        if row["approvals"] is not None:
            requests.add(row["group_id"])
    return frozenset(runs)


def answers_approval(run: Run) -> bool:
    return any(row["role"] == "approval" for row in run.input)


def called_in(runs: Collection[str], history: History) -> tuple[Called, ...]:
    """The tool calls of this turn so far, oldest first."""
    steps: list[list[dict[str, Any]]] = []
    compacted = False
    for entry in reversed(history.seen):
        row = entry.row
        if row["run_id"] not in runs:
            break
        compacted = compacted or row["role"] == Role.SUMMARY
        if row["tool_returns"]:
            steps.append(row["tool_returns"])
    steps.reverse()
    if compacted:  # in the middle of this turn: what was summed up is out of sight, but rules still count it
        gone = Message.objects.filter(run_id__in=runs, role=Role.TOOL, in_context=False).order_by("seq")
        steps = [*gone.values_list("tool_returns", flat=True), *steps]
    return tuple(each for step, returns in enumerate(steps) for each in made_calls(returns, step))


def made_calls(returns: Sequence[Mapping[str, Any]], step: int) -> list[Called]:
    """The calls of one step that were admitted, with what they returned."""
    return [
        Called(item["name"], step, str(item["content"]), bool(item.get("is_error")))
        for item in returns
        if not item.get("refused")
    ]


def _settings(agent: Agent, conversation: Conversation) -> dict[str, Any]:
    return {**agent.model_settings, **(conversation.model_settings or {})}


def is_strict(agent: Agent, conversation: Conversation) -> bool:
    return bool(_settings(agent, conversation).get("strict"))


def model_settings(agent: Agent, conversation: Conversation, end_user: str = "") -> dict[str, Any]:
    """Fields of a ModelRequest: the conversation's settings before the agent's."""
    wire = _settings(agent, conversation)
    found = request_fields(wire) | {
        "response_format": agent.response_format or wire.get("response_format") or wire.get("response_schema"),
        "end_user": end_user or None,
        "cache_key": conversation.pk,
    }
    return {name: value for name, value in found.items() if value is not None}


def fallbacks(agent: Agent, conversation: Conversation) -> tuple[str, ...]:
    """Handles of the models that stand by: the conversation's list before the agent's."""
    wire = _settings(agent, conversation)
    return tuple(wire.get("fallback_models") or ())


def request_fields(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a ModelRequest from the wire's model_settings."""
    found = {
        "temperature": wire.get("temperature"),
        "max_output_tokens": wire.get("max_output_tokens"),
        "reasoning_effort": (wire.get("reasoning") or {}).get("reasoning_effort") or wire.get("effort"),
        "thinking_budget": _thinking_budget(wire),
        "show_thinking": (wire.get("thinking_config") or {}).get("include_thoughts"),
        "verbosity": wire.get("verbosity"),
        **_thinking_switch(wire),
        "parallel_tool_calls": wire.get("parallel_tool_calls", True),
        "timeout_s": settings.MODEL_TIMEOUT_S,
    }
    return {name: value for name, value in found.items() if value is not None}


def _thinking_switch(wire: Mapping[str, Any]) -> dict[str, bool | None]:
    thinking = wire.get("thinking") or {}
    cleared = thinking.get("clear_thinking")
    switched = thinking["type"] == "enabled" if "type" in thinking else None
    return {"thinking": switched, "keep_thinking": None if cleared is None else not cleared}


def _thinking_budget(wire: Mapping[str, Any]) -> int | None:
    """Google's settings have a field of their own for it; it holds where it is set."""
    budget: int | None = (wire.get("thinking_config") or {}).get("thinking_budget")
    thinking = wire.get("thinking") or {}
    if budget is None and thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
    return budget


def _refresh_system(conversation: Conversation, agent: Agent, target: ResolvedModel, history: History) -> bool | None:
    """Compile the system prompt anew where something it shows has changed; its bytes stay the same otherwise.

    None: nothing has happened that could have changed it. A `compiled_version` of 0 asks for it in any case.
    """
    if conversation.compiled_version == agent.prompt_version:
        return None
    prompt = prompt_input(conversation, agent, target.credential.provider_type, len(history.seen))
    row = history.seen[0].row
    if conversation.compiled_version and not differs(row["content"][0]["text"], prompt):
        return False
    history.replace_system({**row, "content": [{"type": "text", "text": compile_system_prompt(prompt)}]})
    return True


def prompt_input(
    conversation: Conversation,
    agent: Agent,
    provider_type: str,
    in_context: int,
    new_with: Sequence[Block] | None = None,
) -> PromptInput:
    """What the system prompt of a conversation shows now: three queries, four where the conversation may have blocks of
    its own, none for a new agent with these blocks."""
    if new_with is None:
        shown: Sequence[Block] = memory.blocks_in(agent.pk, None if conversation.is_default else conversation.pk)
        passages = Passage.objects.filter(archive__agents=agent).aggregate(count=Count("id"))["count"]
    else:
        shown, passages = new_with, 0
    blocks = tuple(BlockView(b.label, b.description, b.value, b.limit, b.read_only) for b in shown)
    tags = Passage.objects.filter(archive__agents=agent).exclude(tags=[]).values_list("tags", flat=True)
    return PromptInput(
        agent_id=agent.pk,
        agent_type=agent.agent_type,
        system=agent.system,
        blocks=blocks,
        tool_rules=agent.tool_rules,
        conversation_id=None if conversation.is_default else conversation.pk,
        compiled_at=now(),
        timezone=agent.timezone,
        earlier_messages=max(0, conversation.next_seq - in_context),
        archival_passages=passages,
        archive_tags=tuple(sorted({tag for row in tags[:1000] for tag in row})) if passages else (),
        line_numbers=wants_line_numbers(agent.agent_type, provider_type),
    )
