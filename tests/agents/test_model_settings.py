"""`model_settings`: what an agent or a conversation says of its model reaches the request, and what cannot is refused."""

from __future__ import annotations

from typing import Any

import pytest

from agents.models import Agent
from agents.schemas.model_settings import carried
from conversations.turn import request_fields, spec
from providers import entries, listing
from providers.catalog import effort_of
from providers.strict import strict_form
from tests.support.api import Api

TYPES = ("openai", "anthropic", "zai", "google_ai", "llamacpp", "azure")
REQUIRED = {"type": "object", "properties": {"q": {"type": "string", "title": "Q"}}, "required": ["q"]}


@pytest.fixture(autouse=True)
def _providers(settings: Any) -> Any:
    """Of every type one, at an address where nobody lists models: each then takes any name."""
    settings.BASE_PROVIDERS = [
        {"name": kind, "provider_type": kind, "api_key": "sk-none", "base_url": "http://127.0.0.1:1/v1"}
        for kind in TYPES
    ]
    entries.forget_all()
    listing._listings.clear()
    yield
    listing._listings.clear()


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        (
            {"reasoning": {"reasoning_effort": "xhigh"}, "verbosity": "low"},
            {"reasoning_effort": "xhigh", "verbosity": "low"},
        ),
        ({"effort": "max"}, {"reasoning_effort": "max"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"thinking_budget": 2000, "thinking": True}),
        (
            {"thinking": {"type": "disabled", "clear_thinking": False}},
            {"thinking": False, "keep_thinking": True},
        ),
        (
            {"thinking_config": {"include_thoughts": False, "thinking_budget": 0}},
            {"thinking_budget": 0, "show_thinking": False},
        ),
        (
            {"max_output_tokens": 9, "temperature": 0, "parallel_tool_calls": False},
            {"max_output_tokens": 9, "temperature": 0},
        ),
    ],
)
def test_each_vendors_words_become_ours(sent: dict[str, Any], asked: dict[str, Any]) -> None:
    found = request_fields(sent)
    assert found.pop("parallel_tool_calls") is sent.get("parallel_tool_calls", True)
    del found["timeout_s"]
    assert found == asked


def test_a_tool_is_strict_only_where_that_changes_nothing() -> None:
    tool = {"name": "find", "parameters": REQUIRED}
    closed = spec(tool, strict=True)
    assert (closed.strict, closed.parameters["additionalProperties"]) == (True, False)
    assert "title" not in closed.parameters["properties"]["q"]
    assert not spec(tool).strict
    assert not spec({"name": "find", "parameters": {**REQUIRED, "required": []}}, strict=True).strict
    nested = {"type": "array", "items": {"anyOf": [REQUIRED, {"type": "null"}]}}
    made = strict_form({**REQUIRED, "properties": {"q": nested}})
    assert made is not None
    assert made["properties"]["q"]["items"]["anyOf"][0]["additionalProperties"] is False
    for loose in ({"type": "object", "additionalProperties": True}, {"$ref": "#/x"}, {"type": "array", "items": {}}):
        assert strict_form({**REQUIRED, "properties": {"q": loose}}) is None


@pytest.mark.parametrize(
    ("model", "wanted", "given"),
    [
        ("gpt-5-mini", "none", "minimal"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5.2", "max", "xhigh"),
        ("o3-mini", "xhigh", "high"),
        ("o1-mini", "high", None),
        ("claude-opus-4-5-20251101", "max", "high"),
        ("us.anthropic.claude-opus-4-6-v1", "max", "max"),
        ("claude-haiku-4-5", "high", None),
        ("glm-4.6", "high", "high"),
        ("gpt-5", None, None),
    ],
)
def test_an_effort_is_the_nearest_that_the_model_knows(model: str, wanted: str | None, given: str | None) -> None:
    assert effort_of(model, wanted) == given


def test_settings_of_another_vendor_are_refused_and_say_whose_they_are(api: Api) -> None:
    thinking = {"provider_type": "anthropic", "thinking": {"type": "enabled", "budget_tokens": 1024}}
    refused = api.post("/agents/", {"model": "openai/gpt-4o", "model_settings": thinking})
    assert refused.status == 400
    assert "provider_type 'anthropic', but the model openai/gpt-4o is of 'openai'" in refused.detail
    agent = api.post("/agents/", {"model": "anthropic/claude-opus-4-5", "model_settings": thinking}).ok()
    path = f"/agents/{agent['id']}"
    assert api.patch(path, {"model_settings": {"provider_type": "openai"}}).status == 400
    assert api.patch(path, {"model": "openai/gpt-4o", "model_settings": thinking}).status == 400
    begun = api.post(f"/conversations/?agent_id={agent['id']}", {"model": "zai/glm-4.6"}).ok()
    wrong = {"model_settings": {"provider_type": "openai"}}
    assert api.patch(f"/conversations/{begun['id']}", wrong).status == 400
    assert api.post(f"/conversations/?agent_id={agent['id']}", wrong).status == 400
    assert api.post("/agents/", {"model": "azure/mine", "model_settings": {"provider_type": "openai"}}).status == 200
    assert api.post("/agents/", {"model": "llamacpp/any", "model_settings": thinking}).status == 200


def test_a_new_handle_alone_keeps_what_the_other_vendor_understands(api: Api) -> None:
    settings = {"provider_type": "anthropic", "effort": "high", "max_output_tokens": 77, "temperature": 0.3}
    agent = api.post("/agents/", {"model": "anthropic/claude-opus-4-5", "model_settings": settings}).ok()
    moved = api.patch(f"/agents/{agent['id']}", {"model": "google_ai/gemini-2.5-pro"}).ok()
    assert moved["model_settings"]["provider_type"] == "google_ai"
    stored = Agent.objects.get(pk=agent["id"]).model_settings
    assert stored == {"provider_type": "google_ai", "max_output_tokens": 77, "temperature": 0.3}
    same = api.patch(f"/agents/{agent['id']}", {"model": "google_ai/gemini-2.5-flash"}).ok()
    assert carried({"provider_type": "anthropic", "effort": "low"}, "bedrock") == {
        "provider_type": "bedrock",
        "effort": "low",
    }
    assert same["model_settings"]["max_output_tokens"] == 77
