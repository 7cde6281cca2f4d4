"""What an answer tells of its tokens: how likely each was, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Wire = dict[str, Any]


@dataclass(slots=True)
class Tokens:
    """Gathered from a run's events: `logprobs` of the last answer, as OpenAI has them; a turn for each answer and each
    tool return. `turns` None: they are not wanted."""

    logprobs: Wire | None = None
    turns: list[Wire] | None = None
    _step: list[Mapping[str, Any]] = field(default_factory=list)

    def note(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "message_added":
            self._step.append(event["message"])
        elif event["type"] == "step_ended":
            items = event.get("logprobs")
            self.logprobs = {"content": items, "refusal": None} if items else None
            if self.turns is not None and event.get("token_ids"):
                self.turns += [turn for row in self._step for turn in _turns(row, event["token_ids"], items or ())]
            self._step = []


def _turns(row: Mapping[str, Any], ids: list[int], items: Any) -> list[Wire]:
    if row["role"] == "tool":
        return [
            {"role": "tool", "content": item["content"], "tool_name": item["name"], "output_ids": None}
            | {"output_token_logprobs": None}
            for item in row["tool_returns"]
        ]
    if row["role"] != "assistant" and not row["tool_calls"]:
        return []
    numbered = [*ids, *[None] * (len(items) - len(ids))]
    known = [[item.get("logprob"), number, item.get("token")] for item, number in zip(items, numbered, strict=False)]
    text = "".join(part["text"] for part in row["content"] if part["type"] == "text")
    said = {"role": "assistant", "content": text or None, "tool_name": None, "output_ids": ids}
    return [said | {"output_token_logprobs": known or None}]
