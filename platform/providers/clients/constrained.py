"""Tool calls for models that make none of their own, on any server that takes a JSON schema.

One turn is up to three small calls: which action (an offered tool, or to reply), its arguments under the tool's own
schema, and, after the tool has returned, the reply, streamed. What a memory tool saves is held against what the user
said (`constrained_guard`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from providers.catalog import ModelInfo
from providers.clients import constrained_guard as guard
from providers.clients import constrained_prompts as prompts
from providers.clients.base import Client, Credential
from providers.clients.openai_chat import OpenAIChat
from providers.errors import BadResponse
from providers.events import Finished, ModelEvent, TextDelta, ToolCallDelta
from providers.types import Message, ModelRequest, TextPart, ToolCall, ToolSpec
from providers.usage import Usage

REPLY = "reply"
MAX_CALLS = 4
_REPLY_TEMPERATURE = 0.3  # small models wander at their servers' usual 0.8
_CHOICE_TOKENS, _ARGUMENT_TOKENS, _REPLY_TOKENS = 24, 300, 512


_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)(m|b)(?![a-z0-9])")


class Constrained:
    """Wraps the Chat Completions client of one credential."""

    dialect = "openai_chat"

    def __init__(self, credential: Credential) -> None:
        self._client = OpenAIChat(credential)
        self.transport = self._client.transport

    def request_body(self, request: ModelRequest) -> bytes:
        """What the turn starts from. The calls that it is made of are in the response, `constrained_calls`."""
        return self._client.request_body(request)

    def list_models(self) -> list[ModelInfo]:
        return self._client.list_models()

    def close(self) -> None:
        self._client.close()

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        yield from _Turn(self._client, request).events()


class _Turn:
    """One request, as the calls it takes; `usage` is their sum."""

    def __init__(self, client: Client, request: ModelRequest) -> None:
        self._client = client
        self._request = request
        self._usage = Usage()
        self._responses: list[dict[str, Any]] = []
        self._asked, self._since = _since_user(request.messages)

    def events(self) -> Iterator[ModelEvent]:
        tool = self._choice()
        if tool is None:
            yield from self._reply()
            return
        arguments = self._arguments(tool)
        if arguments is None or self._repeats(tool, arguments):
            yield from self._reply()
            return
        call = ToolCall(f"call_{uuid.uuid4().hex[:24]}", tool.name, orjson.dumps(arguments).decode())
        yield ToolCallDelta(0, call.id, call.name, call.arguments)
        yield self._finished(Message("assistant", tool_calls=(call,)))

    # ---- which action

    def _choice(self) -> ToolSpec | None:
        """The tool to call, or None for a reply."""
        request = self._request
        offered = {tool.name: tool for tool in request.tools}
        if not offered or request.tool_choice == "none" or len(self._since) >= MAX_CALLS:
            return None
        if request.tool_choice in offered and not self._since:
            return offered[request.tool_choice]
        if any(prompts.is_memory_writer(call.name) and not failed for call, failed in self._since):
            return None
        candidates = self._candidates()
        leans = guard.leaning(self._asked)
        writer = next((tool for tool in candidates if prompts.is_memory_writer(tool.name)), None)
        if writer is not None and leans == "always":
            writers = [tool for tool in candidates if prompts.is_memory_writer(tool.name)]
            return self._ask_choice(writers, must=True) or writer if len(writers) > 1 else writer
        must = request.tool_choice == "required" and not self._since
        return self._ask_choice(candidates or (list(request.tools) if must else []), must=must)

    def _candidates(self) -> list[ToolSpec]:
        """The offered tools that this message may be about."""
        leans, back = guard.leaning(self._asked), guard.looks_back(self._asked)
        kept = []
        for tool in self._request.tools:
            if prompts.is_memory_writer(tool.name):
                replaces = "old_string" in (tool.parameters.get("properties") or {}) or "replace" in tool.name
                if leans != "never" and (not replaces or self._replaceable()):
                    kept.append(tool)
            elif not prompts.is_searcher(tool.name) or back:
                kept.append(tool)
        return sorted(kept, key=lambda tool: not tool.name.endswith(("insert", "append")))

    def _ask_choice(self, tools: list[ToolSpec], *, must: bool) -> ToolSpec | None:
        if not tools:
            return None
        names = [tool.name for tool in tools] if must else [REPLY, *(tool.name for tool in tools)]
        schema = {
            "type": "object",
            "properties": {"action": {"type": "string", "enum": names}},
            "required": ["action"],
            "additionalProperties": False,
        }
        asked = prompts.gate(self._asked, tools, can_save=any(prompts.is_memory_writer(t.name) for t in tools))
        chosen = self._json("action", schema, asked, _CHOICE_TOKENS).get("action")
        return next((tool for tool in tools if tool.name == chosen), None)

    # ---- its arguments

    def _arguments(self, tool: ToolSpec) -> dict[str, Any] | None:
        name = prompts.fact_field(tool) if prompts.is_memory_writer(tool.name) else None
        if name is not None:
            return self._memory_arguments(tool, name)
        ending = prompts.note("call", name=tool.name, description=tool.description)
        asked = prompts.flattened(self._request.messages, ending)
        return self._json("arguments", dict(tool.parameters), asked, _ARGUMENT_TOKENS)

    def _memory_arguments(self, tool: ToolSpec, fact_name: str) -> dict[str, Any]:
        """The fact in the third person if it holds only what was said, else the user's own words."""
        known = tool.parameters.get("properties") or {}
        made: dict[str, Any] = {"label": self._label(known["label"])} if "label" in known else {}
        old = next((name for name in ("old_string", "old_content") if name in known), None)
        if old is not None:
            made["label"], made[old] = self._old_line()
        schema = {
            "type": "object",
            "properties": {"fact": {"type": "string"}},
            "required": ["fact"],
            "additionalProperties": False,
        }
        fact = self._json("fact", schema, prompts.fact(self._asked), _ARGUMENT_TOKENS).get("fact")
        faithful = isinstance(fact, str) and guard.is_faithful(fact, self._asked)
        made[fact_name] = fact if faithful else guard.verbatim(self._asked)
        return made

    def _label(self, schema: Mapping[str, Any]) -> str:
        """What is said of the user goes to `human`, where there is such a block."""
        labels = list(schema.get("enum") or prompts.memory_blocks(self._request.messages)) or ["human"]
        return "human" if "human" in labels else str(labels[0])

    def _replaceable(self) -> list[tuple[str, str]]:
        """(label, line) of what is remembered and may have changed by what was said."""
        if not guard.changes_something(self._asked):
            return []
        blocks = prompts.memory_blocks(self._request.messages)
        if guard.about_user(self._asked) and "human" in blocks:
            blocks = {"human": blocks["human"]}
        pairs = [(label, line) for label, lines in blocks.items() for line in lines]
        return [(label, line) for label, line in pairs if guard.overlaps(line, self._asked)]

    def _old_line(self) -> tuple[str, str]:
        """(label, line) to be replaced; the model is asked only where there is a choice."""
        pairs = self._replaceable()
        if len(pairs) == 1:
            return pairs[0]
        schema = {
            "type": "object",
            "properties": {"line": {"type": "string", "enum": [line for _, line in pairs]}},
            "required": ["line"],
            "additionalProperties": False,
        }
        asked = prompts.flattened(self._request.messages, prompts.note("line"))
        chosen = self._json("line", schema, asked, _ARGUMENT_TOKENS).get("line")
        return next((pair for pair in pairs if pair[1] == chosen), pairs[0])

    def _repeats(self, tool: ToolSpec, arguments: dict[str, Any]) -> bool:
        """Whether this very call was already made for this message, or what it would save stands in memory already."""
        if any(call.name == tool.name and _parsed(call.arguments) == arguments for call, _ in self._since):
            return True
        field = prompts.fact_field(tool) if prompts.is_memory_writer(tool.name) else None
        blocks = prompts.memory_blocks(self._request.messages)
        known = {line.strip() for lines in blocks.values() for line in lines}
        return field is not None and str(arguments.get(field, "")).strip() in known

    # ---- the calls themselves

    def _json(self, name: str, schema: dict[str, Any], messages: tuple[Message, ...], tokens: int) -> dict[str, Any]:
        """A small answer under a schema; {} if what came is no JSON (cut off)."""
        asked = replace(
            self._request,
            messages=messages,
            tools=(),
            tool_choice="auto",
            temperature=0.0,
            max_output_tokens=tokens,
            response_format=prompts.schema_format(name, schema),
        )
        for event in self._client.stream(asked):
            if isinstance(event, Finished):
                self._note(name, event)
                found = _parsed(event.message.text)
                return found if isinstance(found, dict) else {}
        raise BadResponse("The provider's answer was empty.")

    def _note(self, step: str, finished: Finished) -> None:
        self._usage = finished.usage if not self._responses else self._usage + finished.usage
        self._responses.append({"step": step, **finished.response})

    def _reply(self) -> Iterator[ModelEvent]:
        """The answer in words, as it comes."""
        saved = next((call for call, failed in self._since if prompts.is_memory_writer(call.name) and not failed), None)
        if saved is not None and is_tiny(self._request.model):
            yield from self._acknowledged(_fact_of(saved))
            return
        ending = prompts.note("saved", fact=_fact_of(saved)) if saved is not None else ""
        asked = replace(
            self._request,
            messages=prompts.flattened(self._request.messages, ending),
            tools=(),
            tool_choice="auto",
            temperature=_REPLY_TEMPERATURE if self._request.temperature is None else self._request.temperature,
            max_output_tokens=self._request.max_output_tokens or _REPLY_TOKENS,
        )
        for event in self._client.stream(asked):
            if not isinstance(event, Finished):
                yield event
                continue
            self._note("reply", event)
            yield replace(event, usage=self._usage, response=self._response(event.response))

    def _acknowledged(self, fact: str) -> Iterator[ModelEvent]:
        """A fixed answer to a save: the smallest models, asked to confirm one, make things up."""
        text = prompts.note("acknowledged", fact=fact)
        yield TextDelta(text)
        message = Message("assistant", (TextPart(text),))
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        head = {"object": "chat.completion", "model": self._request.model, "choices": [choice]}
        yield Finished(message, "stop", self._usage, self._response(head))

    def _finished(self, message: Message) -> Finished:
        last = self._responses[-1] if self._responses else {"object": "chat.completion", "model": self._request.model}
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        said = {"role": "assistant", "content": None, "tool_calls": calls}
        choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
        return Finished(message, "tool_calls", self._usage, self._response({**last, "choices": [choice]}))

    def _response(self, response: dict[str, Any]) -> dict[str, Any]:
        usage = self._usage
        counts = {"prompt_tokens": usage.prompt, "completion_tokens": usage.output, "total_tokens": usage.total}
        kept = {key: value for key, value in response.items() if key != "step"}
        return {**kept, "usage": counts, "constrained_calls": self._responses}


def is_tiny(model: str) -> bool:
    """Whether a model's name gives it less than two billion parameters: Qwen 1.5B, seen here, confirms a save by
    repeating it as if it were the user."""
    size = _SIZE.search(model.lower())
    return size is not None and (size[2] == "m" or float(size[1]) < 2)


def _since_user(messages: tuple[Message, ...]) -> tuple[str, list[tuple[ToolCall, bool]]]:
    """(the last user message, the calls made since, each with whether it failed)."""
    calls: list[ToolCall] = []
    failed: set[str] = set()
    for message in reversed(messages):
        if message.role == "user":
            return message.text, [(call, call.id in failed) for call in reversed(calls)]
        calls += reversed(message.tool_calls)
        failed |= {made.tool_call_id for made in message.tool_returns if made.is_error}
    return "", [(call, call.id in failed) for call in reversed(calls)]


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _fact_of(call: ToolCall) -> str:
    arguments = _parsed(call.arguments) or {}
    return next((str(arguments[name]) for name in prompts.data()["fact_fields"] if arguments.get(name)), "it.")
