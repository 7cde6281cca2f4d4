"""Passages of archival memory on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from agents.models import Passage
from agents.passages import Hit
from agents.schemas.base import AgentId, ArchiveId, Tags, Wire
from agents.schemas.models import EmbeddingConfig
from core.pagination import Cursor

Match = Literal["any", "all"]


class CreatePassage(Wire):
    text: str
    tags: Tags | None = None
    created_at: datetime | None = None


class PassageOut(Wire):
    """Passage of the contract. `embedding` is null where it was not loaded, or where there is no embedding model."""

    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    is_deleted: bool = False
    organization_id: str | None = None
    archive_id: str | None = None
    source_id: str | None = None
    file_id: str | None = None
    file_name: str | None = None
    metadata: dict[str, Any] | None = None
    tags: list[str] | None = None
    id: str
    text: str
    embedding: list[float] | None = None
    embedding_config: EmbeddingConfig | None = None


class FoundPassage(Wire):
    id: str
    timestamp: str
    content: str
    tags: list[str] = Field(default_factory=list)


class FoundPassages(Wire):
    results: list[FoundPassage]
    count: int


class PassageResult(Wire):
    passage: PassageOut
    score: float
    metadata: dict[str, Any] = Field(default_factory=dict)


class PassageQuery(Wire):
    after: str | None = None
    before: str | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] | None = 100
    search: str | None = None
    ascending: bool | None = True

    def cursor(self) -> Cursor:
        order: Literal["asc", "desc"] = "desc" if self.ascending is False else "asc"
        return Cursor(before=self.before, after=self.after, limit=self.limit or 100, order=order)


class AgentPassageSearch(Wire):
    query: str
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = None
    tags: list[str] | None = None
    tag_match_mode: Match = "any"
    start_datetime: datetime | None = None
    end_datetime: datetime | None = None


class PassageSearch(Wire):
    query: str | None = None
    agent_id: AgentId | None = None
    archive_id: ArchiveId | None = None
    tags: Tags | None = None
    tag_match_mode: Match = "any"
    start_date: datetime | None = None
    end_date: datetime | None = None
    limit: int = Field(default=50, ge=1, le=100)


def passage_out(passage: Passage, configs: Mapping[str, EmbeddingConfig]) -> PassageOut:
    """`configs`: the embedding model of each archive that has one, by archive."""
    vector = None if "embedding" in passage.get_deferred_fields() else passage.embedding
    return PassageOut(
        created_by_id=passage.created_by_id,
        last_updated_by_id=passage.last_updated_by_id,
        created_at=passage.created_at,
        updated_at=passage.updated_at,
        organization_id=passage.organization_id,
        archive_id=passage.archive_id,
        metadata=passage.metadata,
        tags=passage.tags or None,
        id=passage.pk,
        text=passage.text,
        embedding=None if vector is None else [float(number) for number in vector],
        embedding_config=configs.get(passage.archive_id),
    )


def found_passages(hits: list[Hit]) -> FoundPassages:
    found = [
        FoundPassage(
            id=hit.passage.pk,
            timestamp=hit.passage.created_at.isoformat(),
            content=hit.passage.text,
            tags=hit.passage.tags,
        )
        for hit in hits
    ]
    return FoundPassages(results=found, count=len(found))
