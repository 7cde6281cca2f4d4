"""A caller's dealings with archival memory: access, then the passages themselves, then their shape."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from accounts.access import Caller
from agents import access, passages
from agents.model_calls import CallContext
from agents.models import Agent, Archive, Passage
from agents.passages import Hit, NewPassage, Search
from agents.schemas.models import EmbeddingConfig, embedding_config
from agents.schemas.passages import AgentPassageSearch, CreatePassage, PassageOut, PassageSearch, passage_out
from agents.states import reach

DEFAULT_TOP_K = 10


def insert(caller: Caller, agent_id: str, data: CreatePassage) -> list[PassageOut]:
    agent = access.get_agent(caller, agent_id)
    new = NewPassage(text=data.text, tags=data.tags or (), created_at=data.created_at)
    return shown(passages.insert_passages(agent, [new], context_of(caller, agent), caller.user_id))


def delete(caller: Caller, agent_id: str, passage_id: str) -> None:
    access.check_agent(caller, agent_id)
    passages.delete_passage(caller.organization_id, passage_id, agent_id=agent_id)


def search_agent(caller: Caller, agent_id: str, wanted: AgentPassageSearch) -> list[Hit]:
    agent = access.get_agent(caller, agent_id)
    search = Search(
        organization_id=caller.organization_id,
        query=wanted.query,
        agent_id=agent_id,
        tags=wanted.tags or (),
        match_all_tags=wanted.tag_match_mode == "all",
        limit=wanted.top_k or DEFAULT_TOP_K,
        start=wanted.start_datetime,
        end=wanted.end_datetime,
    )
    return passages.search(search, context_of(caller, agent))


def search_all(caller: Caller, wanted: PassageSearch) -> list[Hit]:
    """In an agent's archives, in one archive, or in all of the organization."""
    agent = access.get_agent(caller, wanted.agent_id) if wanted.agent_id else None
    if wanted.archive_id:
        access.get_archive(caller, wanted.archive_id)
    search = Search(
        organization_id=caller.organization_id,
        query=wanted.query or "",
        agent_id=wanted.agent_id,
        archive_id=wanted.archive_id,
        tags=wanted.tags or (),
        match_all_tags=wanted.tag_match_mode == "all",
        limit=wanted.limit,
        start=wanted.start_date,
        end=wanted.end_date,
    )
    return passages.search(search, context_of(caller, agent))


def shown(rows: Sequence[Passage]) -> list[PassageOut]:
    """One query for the archives, however many passages."""
    configs = _configs({row.archive_id for row in rows})
    return [passage_out(row, configs) for row in rows]


def _configs(archive_ids: Iterable[str]) -> dict[str, EmbeddingConfig]:
    archives = Archive.objects.filter(pk__in=list(archive_ids)).exclude(embedding=None)
    found = archives.values_list("pk", "organization_id", "embedding")
    return {pk: embedding_config(reach(organization_id, handle)) for pk, organization_id, handle in found if handle}


def context_of(caller: Caller, agent: Agent | None) -> CallContext:
    """On whose behalf a search asks an embedding model."""
    return CallContext(
        organization_id=caller.organization_id,
        call_type="embedding",
        project_id=caller.project_id or (agent and agent.project_id) or "",
        agent_id=agent.pk if agent else "",
        agent_tags=tuple(agent.tags) if agent else (),
        trace_id=uuid.uuid4().hex,
        api_key_id=caller.api_key_id,
    )
