"""The deprecated spellings of how much a model thinks, as settings of its provider type."""

from __future__ import annotations

from typing import Any

from agents.schemas.agents import CreateAgent, UpdateAgent
from agents.schemas.model_settings import DEFAULT_THINKING_BUDGET, settings_type, takes
from providers.catalog import ModelInfo, is_reasoning_model


def asks_reasoning(data: CreateAgent | UpdateAgent) -> bool:
    on, budget, effort = _asked(data)
    return on is not None or bool(budget) or effort is not None


def reasoning_settings(data: CreateAgent | UpdateAgent, info: ModelInfo) -> dict[str, Any]:
    """Empty where nothing was asked, or the model has nothing to set: clients send `reasoning: false` to any."""
    if not asks_reasoning(data):
        return {}
    on, budget, effort = _asked(data)
    off, kind = on is False, settings_type(info.provider_type)
    if takes(kind, "thinking_config"):
        tokens = 0 if off else budget or DEFAULT_THINKING_BUDGET
        return {"thinking_config": {"include_thoughts": not off, "thinking_budget": tokens}}
    if takes(kind, "thinking") and off:
        return {"thinking": {"type": "disabled"}}
    if takes(kind, "thinking") or budget:
        return {"thinking": {"type": "enabled", "budget_tokens": budget or DEFAULT_THINKING_BUDGET}}
    if not (takes(kind, "reasoning") and is_reasoning_model(info.name)):
        return {}
    return {"reasoning": {"reasoning_effort": "none" if off else effort or "medium"}}


def _asked(data: CreateAgent | UpdateAgent) -> tuple[bool | None, int | None, str | None]:
    """(on or off, budget in tokens, effort). An old config says that a model may think even where it does not."""
    old = data.llm_config
    told = [data.reasoning, getattr(data, "enable_reasoner", None)]
    if old is not None and old.enable_reasoner is False:
        told.append(False)
    on = next((value for value in told if value is not None), None)
    budget = getattr(data, "max_reasoning_tokens", None) or (old.max_reasoning_tokens if old else None)
    return on, None if on is False else budget, old.reasoning_effort if old else None
