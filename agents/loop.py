"""One step of an agent, pure: what is asked of the model, what its stream means, and whether the turn goes on.

Nothing here reads or writes anything: the runner gives frozen values in and acts on what comes out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.events import Event, HiddenReasoning, ReasoningDelta, TextDelta, ToolCallDelta
from agents.tool_rules import Called, Rules
from providers import events as model
from providers.types import FinishReason, Message, ModelRequest, ToolCall, ToolSpec
from providers.usage import Usage

NUDGE = "This turn cannot end before these tools were called: {}. Call the next one now."


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a step knows. `called`: the tool calls of this run so far, with what they returned."""

    step_id: str
    message_id: str
    date: str
    step_index: int
    max_steps: int
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    rules: Rules
    called: tuple[Called, ...]
    client_tools: frozenset[str] = frozenset()
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said in this step."""

    message: Message
    calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the turn ends (`stop_reason`) or another step follows, with a nudge to the model where it needs one."""

    stop_reason: str | None = None
    nudge: str | None = None


def request_of(turn: Turn, model_name: str) -> ModelRequest:
    allowed = turn.rules.allowed([tool.name for tool in turn.tools], turn.called)
    tools = tuple(tool for tool in turn.tools if tool.name in allowed.names)
    settings = dict(turn.settings)
    settings["parallel_tool_calls"] = settings.get("parallel_tool_calls", True) and allowed.parallel
    return ModelRequest(
        model=model_name,
        messages=turn.messages,
        tools=tools,
        tool_choice=allowed.tool_choice if tools else "auto",
        **settings,
    )


def think(turn: Turn, parallel: bool, answers: Iterator[model.ModelEvent]) -> Generator[Event, None, Answer]:
    """The model's stream as events of the run; returns the whole answer."""
    places = _Places(turn)
    for event in answers:
        if isinstance(event, model.Finished):
            calls = event.message.tool_calls if parallel else event.message.tool_calls[:1]
            return Answer(
                message=event.message,
                calls=calls,
                finish_reason=event.finish_reason,
                usage=event.usage,
            )
        if parallel or not isinstance(event, model.ToolCallDelta) or event.index == 0:
            yield places.event(event)
    raise AssertionError("a provider's stream ended without Finished")


def paused(turn: Turn, calls: Sequence[ToolCall]) -> bool:
    """Whether these calls wait for a human, or for the client that runs its own tools."""
    return any(needs_approval(turn, call.name) for call in calls)


def needs_approval(turn: Turn, tool_name: str) -> bool:
    return tool_name in turn.client_tools or turn.rules.needs_approval(tool_name)


def verdict(turn: Turn, answer: Answer, returned: Sequence[Called]) -> Verdict:
    """`returned`: the calls of this step with what they returned."""
    offered = [tool.name for tool in turn.tools]
    if not answer.calls:
        if answer.finish_reason == "length":
            return Verdict(stop_reason="max_tokens_exceeded")
        missing = turn.rules.missing(offered, turn.called)
        if not missing:
            return Verdict(stop_reason="end_turn")
        return Verdict(stop_reason="max_steps") if _is_last(turn) else Verdict(nudge=NUDGE.format(", ".join(missing)))
    if turn.rules.ends(offered, [*turn.called, *returned]):
        return Verdict(stop_reason="tool_rule")
    return Verdict(stop_reason="max_steps") if _is_last(turn) else Verdict()


def _is_last(turn: Turn) -> bool:
    return turn.step_index + 1 >= turn.max_steps


class _Places:
    """Numbers the kinds of a message in the order in which they first occur: reasoning, text, first call, second."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._index: dict[object, int] = {}
        self._waits: dict[int, bool] = {}

    def event(self, event: model.ModelEvent) -> Event:
        kind = event.index if isinstance(event, model.ToolCallDelta) else type(event)
        turn = self._turn
        common: dict[str, Any] = {
            "message_id": turn.message_id,
            "step_id": turn.step_id,
            "index": self._index.setdefault(kind, len(self._index)),
            "date": turn.date,
        }
        match event:
            case model.TextDelta(text=text):
                return TextDelta.model_construct(text=text, **common)
            case model.ReasoningDelta(text=text, signature=signature):
                return ReasoningDelta.model_construct(text=text, signature=signature, **common)
            case model.RedactedReasoning(data=data):
                return HiddenReasoning.model_construct(data=data, **common)
            case model.ToolCallDelta(index=call, id=call_id, name=name, arguments=arguments):
                if name is not None:
                    self._waits[call] = needs_approval(turn, name)
                piece: dict[str, Any] = {
                    "tool_call_id": call_id,
                    "name": name,
                    "arguments": arguments,
                    "needs_approval": self._waits.get(call, False),
                }
                return ToolCallDelta.model_construct(**piece, **common)
        raise AssertionError(f"unknown model event {event!r}")
