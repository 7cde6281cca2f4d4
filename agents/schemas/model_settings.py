"""Settings of a model call on the wire: one set of fields per provider type, kept sparse, shown complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from agents.schemas.base import MAX_INT, Wire
from core.errors import BadInput
from providers.catalog import ModelInfo

SettingsType = Literal[
    "openai",
    "anthropic",
    "google_ai",
    "google_vertex",
    "azure",
    "xai",
    "zai",
    "moonshot",
    "moonshot_coding",
    "groq",
    "deepseek",
    "together",
    "bedrock",
    "baseten",
    "openrouter",
    "chatgpt_oauth",
    "sglang",
]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
DEFAULT_MAX_OUTPUT_TOKENS = 4096
DEFAULT_THINKING_BUDGET = 1024


class TextFormat(Wire):
    type: Literal["text"] = "text"


class JsonObjectFormat(Wire):
    type: Literal["json_object"] = "json_object"


class JsonSchemaFormat(Wire):
    type: Literal["json_schema"] = "json_schema"
    json_schema: dict[str, Any]


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class Reasoning(Wire):
    reasoning_effort: Effort = "minimal"


class Thinking(Wire):
    type: Literal["enabled", "disabled"] = "enabled"
    budget_tokens: int | None = Field(default=None, ge=0, le=MAX_INT)
    clear_thinking: bool | None = None


class GeminiThinking(Wire):
    include_thoughts: bool = True
    thinking_budget: int = Field(default=DEFAULT_THINKING_BUDGET, ge=-1, le=MAX_INT)


class ModelSettings(Wire):
    """What a caller may set. A field that is not sent keeps the model's default."""

    provider_type: SettingsType | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, le=MAX_INT)
    parallel_tool_calls: bool | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    reasoning: Reasoning | None = None
    thinking: Thinking | None = None
    thinking_config: GeminiThinking | None = None
    response_format: ResponseFormat | None = None
    response_schema: ResponseFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    effort: Effort | None = None
    strict: bool | None = None
    tool_call_parser: str | None = None
    fallback_models: list[str] | None = Field(
        default=None,
        max_length=5,
        description="Handles of the models that are asked, in this order, while the agent's own is overloaded, "
        "rate limited or out. An extension of this server.",
    )

    def sparse(self) -> dict[str, Any]:
        """What is stored: only what was set."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


_OWN_FIELDS: dict[str, tuple[str, ...]] = {
    "openai": ("reasoning", "response_format", "strict"),
    "sglang": ("reasoning", "response_format", "strict", "tool_call_parser"),
    "anthropic": ("thinking", "response_format", "verbosity", "effort", "strict"),
    "google_ai": ("thinking_config", "response_schema"),
    "google_vertex": ("thinking_config", "response_schema"),
    "zai": ("response_format", "thinking"),
    "moonshot_coding": ("response_format", "thinking"),
    "chatgpt_oauth": ("reasoning",),
    "baseten": (),
}
_COMMON = ("max_output_tokens", "parallel_tool_calls", "temperature", "fallback_models")
# Types whose settings mean the same.
_FAMILIES = (
    {"openai", "azure"},
    {"google_ai", "google_vertex"},
    {"anthropic", "bedrock"},
    {"moonshot", "moonshot_coding"},
)
_DEFAULTS: dict[str, Any] = {
    "reasoning": {"reasoning_effort": "minimal"},
    "strict": False,
    "thinking": {"type": "disabled", "budget_tokens": DEFAULT_THINKING_BUDGET},
    "thinking_config": {"include_thoughts": True, "thinking_budget": DEFAULT_THINKING_BUDGET},
}


def settings_type(provider_type: str) -> str:
    """The provider type whose settings hold; servers without settings of their own take OpenAI's."""
    return provider_type if provider_type in get_args(SettingsType) else "openai"


def takes(kind: str, name: str) -> bool:
    """Whether settings of this type have the field."""
    return name in _OWN_FIELDS.get(kind, ("response_format",))


def _mean_the_same(one: Any, other: str) -> bool:
    return any({one, other} <= family for family in _FAMILIES)


def refuse_other_type(sent: Mapping[str, Any], info: ModelInfo) -> None:
    """Raises BadInput for settings of another vendor than the model's, of which the model would take nothing.

    A server of a type without settings of its own may lead to any vendor: there, all are taken.
    """
    given, own = sent.get("provider_type"), info.provider_type
    if given in (None, own) or own not in get_args(SettingsType):
        return
    if not _mean_the_same(given, own):
        raise BadInput(
            f"model_settings are of provider_type '{given}', but the model {info.handle} is of '{own}': "
            f"send settings with provider_type '{own}', or none."
        )


def carried(stored: Mapping[str, Any], provider_type: str) -> dict[str, Any]:
    """What stays of an agent's settings when its model changes to one of this provider type."""
    kind = settings_type(provider_type)
    given = stored.get("provider_type")
    if given in (None, kind):
        return dict(stored)
    if _mean_the_same(given, kind):
        return {**stored, "provider_type": kind}
    kept = {*_COMMON, *_OWN_FIELDS.get(kind, ("response_format",))}
    return {name: value for name, value in stored.items() if name in kept} | {"provider_type": kind}


def complete(stored: Mapping[str, Any], info: ModelInfo) -> dict[str, Any]:
    """Stored settings as an agent shows them: every field of its provider type, filled."""
    kind = settings_type(info.provider_type)
    shown: dict[str, Any] = {
        "max_output_tokens": stored.get("max_output_tokens") or info.max_output_tokens or DEFAULT_MAX_OUTPUT_TOKENS,
        "parallel_tool_calls": stored.get("parallel_tool_calls", True),
        "provider_type": kind,
        "temperature": stored.get("temperature", 1.0),
    }
    for name in _OWN_FIELDS.get(kind, ("response_format",)):
        shown[name] = stored.get(name, _DEFAULTS.get(name))
    if stored.get("fallback_models"):
        shown["fallback_models"] = stored["fallback_models"]
    return shown
