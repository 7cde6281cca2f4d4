"""Tools on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from agents.models import DEFAULT_RETURN_CHAR_LIMIT, Tool
from agents.schemas.base import APPROVAL_EXPIRES, Metadata, Page, Seconds, Tags, Wire
from agents.sources.limits import MAX_SOURCE


class ToolOut(Wire):
    """Tool of the contract."""

    id: str
    tool_type: str = "custom"
    description: str | None = None
    source_type: str | None = None
    name: str | None = None
    tags: list[str] = Field(default_factory=list)
    source_code: str | None = None
    json_schema: dict[str, Any] | None = None
    args_json_schema: dict[str, Any] | None = None
    return_char_limit: int
    pip_requirements: list[dict[str, Any]] | None = None
    npm_requirements: list[dict[str, Any]] | None = None
    default_requires_approval: bool | None = None
    approval_expires_s: int | None = None
    enable_parallel_execution: bool | None = False
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    metadata_: dict[str, Any] | None = None
    project_id: str | None = None


def tool_out(tool: Tool) -> ToolOut:
    return ToolOut(
        id=tool.pk,
        tool_type=tool.tool_type,
        description=tool.description,
        source_type=tool.source_type,
        name=tool.name,
        tags=tool.tags,
        source_code=tool.source_code,
        json_schema=tool.json_schema,
        args_json_schema=tool.args_json_schema,
        return_char_limit=tool.return_char_limit,
        pip_requirements=tool.pip_requirements,
        npm_requirements=tool.npm_requirements,
        default_requires_approval=tool.default_requires_approval,
        approval_expires_s=tool.approval_expires_s,
        enable_parallel_execution=tool.enable_parallel_execution,
        created_by_id=tool.created_by_id,
        last_updated_by_id=tool.last_updated_by_id,
        metadata_=tool.metadata,
        project_id=tool.project_id,
    )


class ToolFilters(Wire):
    name: str | None = None
    names: list[str] | None = None
    tool_ids: list[str] | None = None
    search: Annotated[str, Field(max_length=200)] | None = None
    tool_types: list[str] | None = None
    exclude_tool_types: list[str] | None = None
    return_only_letta_tools: bool | None = False


class ToolCountFilters(ToolFilters):
    exclude_letta_tools: bool | None = False


class ToolQuery(ToolFilters, Page):
    pass


class AgentToolPage(Page):
    limit: Annotated[int, Field(ge=1, le=1000)] | None = 10


class PipRequirement(Wire):
    name: Annotated[str, Field(max_length=200)]
    version: Annotated[str, Field(max_length=60)] | None = None


class NpmRequirement(Wire):
    name: Annotated[str, Field(max_length=214, pattern=r"^(@[a-z0-9._-]+/)?[A-Za-z0-9._-]+$")]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9.^~*+-]{1,60}$")] | None = None


ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./:-]{1,100}$")]
SourceCode = Annotated[str, Field(max_length=MAX_SOURCE)]
SourceType = Annotated[str, Field(max_length=20)]
ReturnLimit = Annotated[int, Field(ge=1, le=1_000_000)]


class _ToolFields(Wire):
    """What may be said of a tool beside its source."""

    source_type: SourceType | None = None
    json_schema: dict[str, Any] | None = None
    args_json_schema: dict[str, Any] | None = None
    description: str | None = None
    tags: Tags | None = None
    pip_requirements: Annotated[list[PipRequirement], Field(max_length=50)] | None = None
    npm_requirements: Annotated[list[NpmRequirement], Field(max_length=50)] | None = None
    default_requires_approval: bool | None = None
    approval_expires_s: Annotated[Seconds, Field(description=APPROVAL_EXPIRES)] | None = None
    enable_parallel_execution: bool | None = None
    metadata_: Metadata | None = Field(default=None, validation_alias=AliasChoices("metadata", "metadata_"))


class ToolCreate(_ToolFields):
    source_code: SourceCode
    return_char_limit: ReturnLimit = DEFAULT_RETURN_CHAR_LIMIT


class ToolUpdate(_ToolFields):
    source_code: SourceCode | None = None
    return_char_limit: ReturnLimit | None = None


class ModifyApproval(Wire):
    """The TypeScript SDK sends the field under the name that it has as an argument there."""

    requires_approval: bool | None = Field(
        None, validation_alias=AliasChoices("requires_approval", "body_requires_approval")
    )


class FunctionSchema(Wire):
    """A function as models are told of it."""

    name: str
    description: str
    parameters: dict[str, Any]


class GenerateSchema(Wire):
    code: SourceCode
    source_type: SourceType | None = None


class ToolRunFromSource(Wire):
    source_code: SourceCode
    args: dict[str, Any]
    env_vars: dict[str, str] = Field(default_factory=dict)
    name: Annotated[str, Field(max_length=100)] | None = None
    source_type: str | None = None
    pip_requirements: list[PipRequirement] | None = None
    npm_requirements: list[NpmRequirement] | None = None


class ToolExecuteRequest(Wire):
    args: dict[str, Any] = Field(default_factory=dict)


class ToolExecutionResult(Wire):
    status: Literal["success", "error"]
    func_return: Any = None
    agent_state: dict[str, Any] | None = None
    stdout: list[str] | None = None
    stderr: list[str] | None = None
    sandbox_config_fingerprint: str | None = None


class ToolSearchRequest(Wire):
    query: Annotated[str, Field(max_length=2_000)] | None = None
    search_mode: Literal["vector", "fts", "hybrid"] = "hybrid"
    tags: Tags | None = None
    tool_types: list[str] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50


class ToolSearchResult(Wire):
    """The ranks begin at 1; None: not found that way."""

    tool: ToolOut
    embedded_text: str | None = None
    fts_rank: int | None = None
    vector_rank: int | None = None
    combined_score: float
