"""What is said to a model in our own words: one text file each, and `sentences.toml` for the short ones."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_SYSTEM = {
    "letta_v1_agent": "system_v1",
    "memgpt_v2_agent": "system_v1",
    "memgpt_agent": "system_memgpt",
    "split_thread_agent": "system_memgpt",
    "sleeptime_agent": "system_sleeptime",
    "voice_sleeptime_agent": "system_sleeptime",
    "voice_convo_agent": "system_voice",
    "react_agent": "system_plain",
    "workflow_agent": "system_workflow",
}


@cache
def text(name: str) -> str:
    return (_HERE / f"{name}.txt").read_text(encoding="utf-8").strip()


@cache
def sentences(group: str) -> dict[str, Any]:
    return dict(tomllib.loads((_HERE / "sentences.toml").read_text(encoding="utf-8"))[group])


def default_system(agent_type: str, *, enable_sleeptime: bool = False) -> str:
    """The system prompt of an agent that was made without one; `enable_sleeptime`: another one tends its memory."""
    if enable_sleeptime and agent_type in ("memgpt_agent", "memgpt_v2_agent"):
        return text("system_sleeptime_chat")
    return text(_SYSTEM[agent_type])
