"""Agents on the wire: AgentState, and what creates, changes and finds one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from agents.models import AgentType
from agents.schemas.base import (
    APPROVAL_EXPIRES,
    MAX_INT,
    BlockId,
    Limit,
    Metadata,
    Page,
    PositiveInt,
    ProjectId,
    Seconds,
    Tags,
    ToolId,
    Wire,
)
from agents.schemas.blocks import BlockOut, CreateBlock
from agents.schemas.content import InlineImage, TextPart
from agents.schemas.model_settings import Effort, ModelSettings, ResponseFormat
from agents.schemas.models import EmbeddingConfig, LLMConfig
from agents.schemas.tool_rules import ToolRule
from agents.schemas.tools import ToolOut
from agents.schemas.variables import VariableOut, Variables
from core.pagination import Cursor, Order

Include = Literal[
    "agent.blocks",
    "agent.identities",
    "agent.managed_group",
    "agent.pending_approval",
    "agent.secrets",
    "agent.sources",
    "agent.tags",
    "agent.tools",
]
CompactionMode = Literal["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Handle = Annotated[str, Field(min_length=1, max_length=255)]
StopReason = Literal[
    "end_turn",
    "error",
    "llm_api_error",
    "invalid_llm_response",
    "invalid_tool_call",
    "max_steps",
    "max_tokens_exceeded",
    "no_tool_call",
    "tool_rule",
    "cancelled",
    "insufficient_credits",
    "requires_approval",
    "context_window_overflow_in_system_prompt",
]


class CompactionSettings(Wire):
    """`prompt` null: the default of the mode. `model` null: the agent's."""

    model: str | None = None
    model_settings: ModelSettings | None = None
    prompt: str | None = None
    prompt_acknowledgement: bool = False
    clip_chars: int | None = Field(default=50_000, ge=1, le=MAX_INT)
    mode: CompactionMode = "sliding_window"
    sliding_window_percentage: float = Field(default=0.3, gt=0, lt=1)


class InitialMessage(Wire):
    """Images are inline: nothing is fetched for a message that no model answers."""

    role: Literal["user", "system", "assistant"]
    content: str | list[Annotated[TextPart | InlineImage, Field(discriminator="type")]]
    otid: Annotated[str, Field(max_length=200)] | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    sender_id: Annotated[str, Field(max_length=60)] | None = None


class OldLLMConfig(Wire):
    """The deprecated way to name a model; `handle`, or the provider's name and the model."""

    handle: str | None = None
    provider_name: str | None = None
    model: str | None = None
    context_window: PositiveInt | None = None
    temperature: float | None = None
    max_tokens: PositiveInt | None = None
    enable_reasoner: bool | None = None
    max_reasoning_tokens: Annotated[int, Field(ge=0, le=MAX_INT)] | None = None
    reasoning_effort: Effort | None = None
    response_format: ResponseFormat | None = None

    def named(self) -> str | None:
        if self.handle or not (self.provider_name and self.model):
            return self.handle
        return f"{self.provider_name}/{self.model}"


class OldEmbeddingConfig(Wire):
    handle: str | None = None
    embedding_endpoint_type: str | None = None
    embedding_model: str | None = None

    def named(self) -> str | None:
        if self.handle or not (self.embedding_endpoint_type and self.embedding_model):
            return self.handle
        return f"{self.embedding_endpoint_type}/{self.embedding_model}"


def refuse_given(value: Any) -> Any:
    if value:
        raise ValueError("not supported in this version: leave it out")
    return value


class _AgentFields(Wire):
    """What creating and changing an agent have in common."""

    description: str | None = None
    metadata: Metadata | None = None
    tags: Tags | None = None
    model: Handle | None = None
    model_settings: ModelSettings | None = None
    embedding: Handle | None = None
    context_window_limit: PositiveInt | None = None
    compaction_settings: CompactionSettings | None = None
    response_format: ResponseFormat | None = None
    system: str | None = None
    tool_rules: list[ToolRule] | None = None
    tool_ids: list[ToolId] | None = None
    block_ids: list[BlockId] | None = None
    timezone: Annotated[str, Field(max_length=60)] | None = None
    hidden: bool | None = None
    enable_sleeptime: bool | None = None
    max_files_open: PositiveInt | None = None
    per_file_view_window_char_limit: PositiveInt | None = None
    approval_expires_s: Annotated[Seconds, Field(description=APPROVAL_EXPIRES)] | None = None
    project_id: ProjectId | None = None
    # Deprecated spellings of model_settings.
    llm_config: OldLLMConfig | None = None
    embedding_config: OldEmbeddingConfig | None = None
    max_tokens: PositiveInt | None = None
    parallel_tool_calls: bool | None = None
    reasoning: bool | None = None
    secrets: Variables | None = None
    tool_exec_environment_variables: Variables | None = None
    # Parts of the contract that this version has no place for; a value in them is refused, not dropped.
    folder_ids: list[str] | None = None
    source_ids: list[str] | None = None
    identity_ids: list[str] | None = None
    template_id: str | None = None
    base_template_id: str | None = None

    @field_validator(
        "folder_ids", "source_ids", "identity_ids", "template_id", "base_template_id", "enable_sleeptime", mode="after"
    )
    @classmethod
    def _not_yet(cls, value: Any) -> Any:
        return refuse_given(value)

    def variables(self) -> dict[str, str] | None:
        """By name, in clear text; None: not sent."""
        if self.secrets is None and self.tool_exec_environment_variables is None:
            return None
        both = {**(self.tool_exec_environment_variables or {}), **(self.secrets or {})}
        return {name: value.get_secret_value() for name, value in both.items()}


class CreateAgent(_AgentFields):
    name: Name | None = None
    agent_type: AgentType = AgentType.LETTA_V1
    memory_blocks: list[CreateBlock] | None = None
    tools: list[str] | None = None
    include_base_tools: bool = True
    include_base_tool_rules: bool | None = None
    initial_message_sequence: list[InitialMessage] | None = None
    message_buffer_autoclear: bool = False
    max_reasoning_tokens: Annotated[int, Field(ge=0, le=MAX_INT)] | None = None
    enable_reasoner: bool | None = None
    # Parts of the contract that this version has no place for, as above.
    include_multi_agent_tools: bool = False
    from_template: str | None = None
    template: bool | None = None
    memory_variables: dict[str, str] | None = None

    @field_validator("include_multi_agent_tools", "from_template", "template", "memory_variables", mode="after")
    @classmethod
    def _not_yet_either(cls, value: Any) -> Any:
        return refuse_given(value)


class UpdateAgent(_AgentFields):
    """Only the fields that are sent are changed."""

    name: Name | None = None
    message_buffer_autoclear: bool | None = None
    message_ids: list[str] | None = None
    last_run_completion: datetime | None = None
    last_run_duration_ms: Annotated[int, Field(ge=0, le=MAX_INT)] | None = None
    last_stop_reason: StopReason | None = None


class Memory(Wire):
    agent_type: str | None = None
    git_enabled: bool = False
    blocks: list[BlockOut] = Field(default_factory=list)
    file_blocks: list[dict[str, Any]] = Field(default_factory=list)
    prompt_template: str = ""


class AgentState(Wire):
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    id: str
    name: str
    tool_rules: list[dict[str, Any]] | None = None
    message_ids: list[str] | None = None
    system: str
    agent_type: str
    llm_config: LLMConfig
    embedding_config: EmbeddingConfig | None = None
    model: str | None = None
    embedding: str | None = None
    model_settings: dict[str, Any] | None = None
    compaction_settings: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    memory: Memory
    blocks: list[BlockOut] = Field(default_factory=list)
    tools: list[ToolOut] = Field(default_factory=list)
    sources: list[dict[str, Any]] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    tool_exec_environment_variables: list[VariableOut] = Field(default_factory=list)
    secrets: list[VariableOut] = Field(default_factory=list)
    project_id: str | None = None
    template_id: str | None = None
    base_template_id: str | None = None
    deployment_id: str | None = None
    entity_id: str | None = None
    identity_ids: list[str] = Field(default_factory=list)
    identities: list[dict[str, Any]] = Field(default_factory=list)
    pending_approval: dict[str, Any] | None = None
    message_buffer_autoclear: bool = False
    enable_sleeptime: bool | None = None
    multi_agent_group: dict[str, Any] | None = None
    managed_group: dict[str, Any] | None = None
    last_run_completion: datetime | None = None
    last_run_duration_ms: int | None = None
    last_stop_reason: str | None = None
    timezone: str | None = None
    max_files_open: int | None = None
    per_file_view_window_char_limit: int | None = None
    approval_expires_s: int | None = None
    hidden: bool | None = None


class Including(Wire):
    """Which relationships an answer has. `include_relationships` is the old spelling, without the prefix."""

    include: list[Include] | None = None
    include_relationships: list[str] | None = None

    def wanted(self) -> frozenset[str]:
        named = [name.removeprefix("agent.") for name in self.include or ()]
        old = {"memory": "blocks", "tool_exec_environment_variables": "secrets"}
        return frozenset(named + [old.get(name, name) for name in self.include_relationships or ()])


class AgentFilters(Wire):
    name: str | None = None
    tags: list[str] | None = None
    match_all_tags: bool = False
    query_text: Annotated[str, Field(max_length=200)] | None = None
    project_id: ProjectId | None = None
    template_id: str | None = None
    base_template_id: str | None = None
    identity_id: str | None = None
    identifier_keys: list[str] | None = None
    created_by_id: str | None = None
    last_stop_reason: StopReason | None = None


class AgentQuery(AgentFilters, Including, Page):
    order_by: Literal["created_at", "updated_at", "last_run_completion"] = "created_at"  # type: ignore[assignment]
    # Deprecated spellings of order_by and order.
    sort_by: Literal["created_at", "updated_at", "last_run_completion"] | None = None
    ascending: bool | None = None

    def key(self) -> str:
        sent = self.order_by if "order_by" in self.model_fields_set else None
        return sent or self.sort_by or self.order_by

    def cursor(self) -> Cursor:
        cursor = super().cursor()
        return replace(cursor, order="asc") if self.ascending and "order" not in self.model_fields_set else cursor


class AgentPage(Including, Page):
    pass


class TagQuery(Wire):
    """Tags have no ids: the cursors are tags themselves."""

    before: str | None = None
    after: str | None = None
    limit: Limit | None = 50
    order: Order = "asc"
    order_by: Literal["name"] = "name"
    name: str | None = None
    query_text: str | None = None


class ContextWindowOverview(Wire):
    context_window_size_max: int
    context_window_size_current: int
    num_messages: int
    num_archival_memory: int
    num_recall_memory: int
    num_tokens_external_memory_summary: int
    external_memory_summary: str
    num_tokens_system: int
    system_prompt: str
    num_tokens_core_memory: int
    core_memory: str
    num_tokens_memory_filesystem: int = 0
    memory_filesystem: str | None = None
    num_tokens_tool_usage_rules: int = 0
    tool_usage_rules: str | None = None
    num_tokens_directories: int = 0
    directories: str | None = None
    num_tokens_summary_memory: int
    summary_memory: str | None = None
    num_tokens_functions_definitions: int
    functions_definitions: list[dict[str, Any]] | None
    num_tokens_messages: int
    messages: list[dict[str, Any]]
