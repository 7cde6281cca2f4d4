"""Memory blocks on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from agents.models import DEFAULT_BLOCK_LIMIT, TEMPLATE_IDS, Block
from agents.schemas.base import Count, Metadata, Page, PositiveInt, ProjectId, Tags, Wire
from core.pagination import Order

Search = Annotated[str, Field(max_length=200)]
OwnText = Annotated[str, Field(max_length=100)]
LabelText = Annotated[str, Field(min_length=1, max_length=50)]


class _FromTemplate(Wire):
    """Kept and shown, and without effect here."""

    template_id: OwnText | None = None
    base_template_id: OwnText | None = None
    deployment_id: OwnText | None = None
    entity_id: OwnText | None = None
    preserve_on_migration: bool | None = False

    def template_ids(self) -> dict[str, Any]:
        """Those that were sent."""
        return {name: getattr(self, name) for name in TEMPLATE_IDS if name in self.model_fields_set}


class CreateBlock(_FromTemplate):
    label: LabelText
    value: str
    limit: PositiveInt = DEFAULT_BLOCK_LIMIT
    description: str | None = None
    read_only: bool = False
    metadata: Metadata | None = None
    tags: Tags | None = None
    hidden: bool | None = None
    project_id: ProjectId | None = None
    is_template: bool = False
    template_name: Annotated[str, Field(max_length=100)] | None = None


class UpdateBlock(_FromTemplate):
    """Only the fields that are sent are changed."""

    label: LabelText | None = None
    value: str | None = None
    limit: PositiveInt | None = None
    description: str | None = None
    read_only: bool = False
    metadata: Metadata | None = None
    tags: Tags | None = None
    hidden: bool | None = None
    project_id: ProjectId | None = None
    is_template: bool = False
    template_name: Annotated[str, Field(max_length=100)] | None = None

    def changes(self) -> dict[str, Any]:
        """What was sent, without nulls where a block must have a value."""
        sent = self.model_dump(exclude_unset=True, exclude=set(TEMPLATE_IDS))
        if template_ids := self.template_ids():
            sent["template_ids"] = template_ids
        optional = {"description", "hidden", "project_id", "template_name"}
        return {name: value for name, value in sent.items() if value is not None or name in optional}


class BlockOut(Wire):
    """BlockResponse of the contract."""

    value: str
    limit: int
    project_id: str | None = None
    template_name: str | None = None
    is_template: bool = False
    template_id: str | None = None
    base_template_id: str | None = None
    deployment_id: str | None = None
    entity_id: str | None = None
    preserve_on_migration: bool | None = False
    label: str | None = None
    read_only: bool = False
    description: str | None = None
    metadata: dict[str, Any] | None = Field(default_factory=dict)
    hidden: bool | None = None
    id: str
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    tags: list[str] | None = Field(default_factory=list)


def block_out(block: Block) -> BlockOut:
    return BlockOut(
        value=block.value,
        limit=block.limit,
        project_id=block.project_id,
        template_name=block.template_name,
        is_template=block.is_template,
        label=block.label,
        read_only=block.read_only,
        description=block.description,
        metadata=block.metadata,
        hidden=block.hidden,
        id=block.pk,
        created_by_id=block.created_by_id,
        last_updated_by_id=block.last_updated_by_id,
        tags=block.tags,
        **block.template_ids,
    )


class BlockFilters(Wire):
    label: Annotated[str, Field(max_length=50)] | None = None
    name: Annotated[str, Field(max_length=100)] | None = None
    templates_only: bool = False
    tags: list[str] | None = None
    match_all_tags: bool = False
    project_id: ProjectId | None = None
    label_search: Annotated[str, Field(max_length=50)] | None = None
    description_search: Search | None = None
    value_search: Search | None = None
    connected_to_agents_count_gt: Count | None = None
    connected_to_agents_count_lt: Count | None = None
    connected_to_agents_count_eq: list[Count] | None = None
    identity_id: str | None = None
    identifier_keys: list[str] | None = None

    @field_validator("identity_id", "identifier_keys", mode="after")
    @classmethod
    def _not_yet(cls, value: Any) -> Any:
        if value:
            raise ValueError("not supported in this version: leave it out")
        return value


class BlockQuery(BlockFilters, Page):
    order: Order = "asc"


class AgentBlockPage(Page):
    limit: Annotated[int, Field(ge=1, le=1000)] | None = 100
    order_by: Literal["created_at"] = "created_at"
