"""/v1/agents/{agent_id}/archival-memory: the passages of one agent."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents import access, archival, passages
from agents.api.answers import answer, answer_list, answer_plain
from agents.schemas.base import AgentId, PassageId
from agents.schemas.passages import (
    AgentPassageSearch,
    CreatePassage,
    FoundPassages,
    PassageOut,
    PassageQuery,
    found_passages,
)

router = Router(tags=["agents.passages"])


@router.post("/{agent_id}/archival-memory", response=list[PassageOut])
def create_passage(request: ApiRequest, agent_id: Path[AgentId], data: CreatePassage) -> HttpResponse:
    return answer_list(archival.insert(request.caller, agent_id, data))


@router.get("/{agent_id}/archival-memory", response=list[PassageOut])
def list_passages(request: ApiRequest, agent_id: Path[AgentId], query: Query[PassageQuery]) -> HttpResponse:
    access.check_agent(request.caller, agent_id)
    return answer_list(archival.shown(passages.list_passages(agent_id, query.cursor(), query.search or "")))


@router.get("/{agent_id}/archival-memory/search", response=FoundPassages)
def search_agent_passages(
    request: ApiRequest, agent_id: Path[AgentId], query: Query[AgentPassageSearch]
) -> HttpResponse:
    return answer(found_passages(archival.search_agent(request.caller, agent_id, query)))


@router.delete("/{agent_id}/archival-memory/{memory_id}")
def delete_passage(request: ApiRequest, agent_id: Path[AgentId], memory_id: Path[PassageId]) -> HttpResponse:
    archival.delete(request.caller, agent_id, memory_id)
    return answer_plain({"message": f"Memory id={memory_id} successfully deleted"})
