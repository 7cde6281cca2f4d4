"""Making room in a conversation: the older messages give way to a summary, by a model call of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction

from accounts.access import Caller
from agents import compaction
from agents.compaction import Cut, Settings, Trigger
from agents.context import estimate_tokens
from agents.events import Compacted, CompactionStarted
from agents.model_calls import CallContext, ModelCall
from agents.models import Agent
from conversations import history as histories
from conversations import turn
from conversations.commit import check_fence, insert_rows
from conversations.events import publish
from conversations.history import History
from conversations.lease import Lease
from conversations.models import ACTIVE, Conversation, Message, Run
from conversations.rows import Row, fresh_row
from conversations.turn import Work, call_context
from core.errors import AppError, BadInput, Conflict
from core.ids import new_id
from core.time import now
from providers.errors import ProviderError
from providers.events import Finished
from providers.resolve import ResolvedModel, resolve
from providers.types import ModelRequest, ToolSpec
from streams.publish import RunWriter

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Room:
    """What is to be made smaller, and on whose behalf. `cost_usd`: of all calls for it, those without use included."""

    agent: Agent
    conversation: Conversation
    target: ResolvedModel
    history: History
    tools: tuple[ToolSpec, ...]
    window: int
    settings: Settings
    context: CallContext
    abandoned: Callable[[], bool] = bool
    cost_usd: Decimal | None = None

    @property
    def fixed_tokens(self) -> int:
        return estimate_tokens(self.tools)


@dataclass(frozen=True, slots=True)
class Made:
    cut: Cut
    summary: str


def compact_if_full(work: Work, writer: RunWriter, held: Lease) -> Work:
    """Before a step: make room if less than a tenth of the window is left. What fails here fails nothing else."""
    if not compaction.is_full(work.conversation.context_tokens + _since_last_call(work), work.window):
        return work
    try:
        return compact(work, writer, held, trigger="post_step_context_check")
    except (BadInput, ProviderError) as error:
        log.info("%s: full, and not summed up: %s", work.conversation.pk, error.message)
        return work


def _since_last_call(work: Work) -> int:
    """Tokens of what the last model call has not seen: returns of its tools, and new input."""
    tokens = sum(work.history.view(row).tokens for row in work.fresh)
    for entry in reversed(work.history.seen):
        if entry.row["role"] not in ("tool", "user"):
            break
        tokens += entry.tokens
    return tokens


def compact(work: Work, writer: RunWriter, held: Lease, *, trigger: Trigger) -> Work:
    """Make room in the middle of a run; the step's work, loaded anew. Raises BadInput where nothing can be cut."""
    room = Room(
        agent=work.agent,
        conversation=work.conversation,
        target=work.target,
        history=work.history,
        tools=work.turn.tools,
        window=work.window,
        settings=Settings.parse(work.agent.compaction_settings),
        context=call_context(work, "summarization"),
        abandoned=lambda: held.lost.is_set() or writer.fenced,
    )
    tokens = work.conversation.context_tokens or work.history.tokens
    publish(writer, CompactionStarted(trigger=trigger, context_tokens=tokens, context_window=work.window))
    try:
        made = summarize(room)
    finally:
        if room.cost_usd is not None:
            work.run.cost_usd = (work.run.cost_usd or 0) + room.cost_usd
    row = store(room, made, trigger, run=work.run)
    publish(writer, Compacted(message=row, stats=row["stats"]))
    return turn.load(work.run)


def compact_conversation(
    caller: Caller, conversation: Conversation, wire_settings: dict[str, Any] | None
) -> dict[str, Any]:
    """On demand. Raises Conflict while a turn runs, BadInput where there is nothing to sum up."""
    _refuse_while_running(conversation)
    agent = conversation.agent
    project_id = caller.project_id or agent.project_id or ""
    strict = turn.is_strict(agent, conversation)
    target = resolve(agent.organization_id, conversation.model or agent.model, project_id)
    room = Room(
        agent=agent,
        conversation=conversation,
        target=target,
        history=histories.load(conversation, agent.agent_type, agent.timezone),
        tools=tuple(turn.spec(tool["json_schema"], strict=strict) for tool in turn.tools_of(agent).values()),
        window=conversation.context_window_limit or agent.context_window_limit or target.info.context_window,
        settings=Settings.parse(agent.compaction_settings, wire_settings),
        context=CallContext(
            organization_id=agent.organization_id,
            call_type="summarization",
            project_id=project_id,
            agent_id=agent.pk,
            agent_tags=tuple(agent.tags),
            conversation_id=conversation.pk,
            api_key_id=caller.api_key_id,
        ),
    )
    before = len(room.history.seen)
    made = summarize(room)
    store(room, made, "manual")
    after = 2 + before - made.cut.index
    return {"summary": made.summary, "num_messages_before": before, "num_messages_after": after}


def summarize(room: Room) -> Made:
    """The first of the modes, and of the models, that works. Raises BadInput, or what the last model call raised."""
    failure: ProviderError | AppError | None = None
    stored = [compaction.stored(entry.row, entry.tokens) for entry in room.history.seen]
    for mode in compaction.fallbacks(room.settings.mode):
        cut = compaction.plan(room.settings, mode, stored, room.window, room.fixed_tokens)
        if cut is None:
            continue
        for handle in _handles(room, mode):
            try:
                asker = room.context
                target = resolve(asker.organization_id, handle, asker.project_id, asker.identity_id)
                return _ask(room, cut, target)
            except (ProviderError, AppError) as error:
                log.warning("%s: no summary by %s: %s", room.conversation.pk, handle, error)
                failure = error
    raise failure or BadInput("Nothing was compacted: there are no older messages that a summary could make shorter.")


def _handles(room: Room, mode: compaction.Mode) -> tuple[str, ...]:
    own = room.target.info.handle
    if compaction.is_self(mode):
        return (own,)
    return compaction.summarizers(room.settings, own, room.target.credential.provider_type)


def _ask(room: Room, cut: Cut, target: ResolvedModel) -> Made:
    seen = [entry.message for entry in room.history.seen[: cut.index] if entry.message is not None]
    window = min(room.window, target.info.context_window)
    asked = compaction.summary_call(room.settings, cut.mode, seen, room.tools, window)
    tool_choice = "none" if asked.tools else "auto"
    request = ModelRequest(
        model=target.model, messages=asked.messages, tools=asked.tools, tool_choice=tool_choice, **_fields(room, cut)
    )
    call = ModelCall(target, request, room.context, room.abandoned)
    try:
        answers = [event.message.text for event in call.events() if isinstance(event, Finished)]
    finally:
        if (cost := call.outcome.all_cost_usd) is not None:
            room.cost_usd = (room.cost_usd or 0) + cost
    if not answers[0].strip():
        raise BadInput("The model answered the request for a summary with nothing.")
    return Made(cut, compaction.finish_summary(room.settings, answers[0]))


def _fields(room: Room, cut: Cut) -> dict[str, Any]:
    """The agent's own model is asked as in its steps, so that its provider's cache holds."""
    if not compaction.is_self(cut.mode):
        return turn.request_fields(room.settings.model_settings or {})
    own = turn.model_settings(room.agent, room.conversation)
    return {name: value for name, value in own.items() if name != "response_format"}


def store(room: Room, made: Made, trigger: Trigger, run: Run | None = None) -> Row:
    """Put the summary into context and what it stands for out of it, all at once; the summary's row."""
    conversation, seen, at = room.conversation, room.history.seen, now()
    counts = (len(seen), 2 + len(seen) - made.cut.index)
    row = _summary_row(conversation, made, at)
    kept = [seen[0].tokens, room.history.view(row).tokens, *(entry.tokens for entry in seen[made.cut.index :])]
    tokens_after = room.fixed_tokens + sum(kept)
    row["stats"] = compaction.stats(trigger, made.cut, tokens_after, room.window, counts)
    row["run_id"] = run.pk if run else None
    with transaction.atomic():
        if run is None:
            _check_idle(conversation)
        else:
            check_fence(run)
        unchanged = Conversation.objects.filter(
            pk=conversation.pk, context_version=conversation.context_version, next_seq=conversation.next_seq
        )
        changed = unchanged.update(
            next_seq=conversation.next_seq + 1,
            context_version=conversation.context_version + 1,
            compiled_version=0,
            context_tokens=tokens_after,
        )
        if not changed:
            raise Conflict("The conversation changed while it was being summed up: try again.")
        evicted = [entry.row["id"] for entry in seen[1 : made.cut.index]]
        Message.objects.filter(conversation=conversation, pk__in=evicted).update(in_context=False)
        insert_rows(conversation.organization_id, [row])
        if run is not None:
            Run.objects.filter(pk=run.pk).update(cost_usd=run.cost_usd)
    histories.forget(conversation.pk)
    return row


def _check_idle(conversation: Conversation) -> None:
    """Lock the conversation: no turn runs in it, and none can begin until the transaction ends. Raises Conflict."""
    Conversation.objects.select_for_update().get(pk=conversation.pk)
    _refuse_while_running(conversation)


def _refuse_while_running(conversation: Conversation) -> None:
    if Run.objects.filter(conversation=conversation, status__in=ACTIVE).exists():
        raise Conflict("A turn is running in this conversation: compact it afterwards.")


def _summary_row(conversation: Conversation, made: Made, at: Any) -> Row:
    return fresh_row(
        conversation,
        at,
        seq=conversation.next_seq,
        role="summary",
        content=[{"type": "text", "text": made.summary}],
        otid=new_id("message")[-36:],
    )
