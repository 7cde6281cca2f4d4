"""/v1/agents: agents as files, and agents made like others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from ninja import File, Form, Path, Query, Router
from ninja.files import UploadedFile

from accounts.http import ApiRequest
from agents import access
from agents.api.answers import JSON, answer
from agents.cloning import clone_agent
from agents.exporting import export_agent, refuse_legacy
from agents.importing import choices_of, import_file, read_file
from agents.schemas.agent_files import (
    MAX_BYTES,
    CloneAgent,
    ExportBody,
    ExportChoices,
    ExportQuery,
    ImportedAgents,
    ImportForm,
    SkillFile,
)
from agents.schemas.agents import AgentState
from agents.schemas.base import AgentId
from agents.states import state_of

router = Router(tags=["agents"])


@router.post("/import", response=ImportedAgents)
def import_agents(request: ApiRequest, file: File[UploadedFile], form: Form[ImportForm]) -> HttpResponse:
    """All agents of a file, or none. `left_out` counts what this server has no place for."""
    if (file.size or 0) > MAX_BYTES:
        raise RequestDataTooBig
    choices = choices_of(form, request.headers.get("x-override-embedding-model"))
    return answer(import_file(request.caller, read_file(file.read()), choices))


@router.get("/{agent_id}/export", response=dict[str, Any])
def export_file(request: ApiRequest, agent_id: Path[AgentId], query: Query[ExportQuery]) -> HttpResponse:
    """The agent as a file: blocks, tools with their source, rules, messages, archival memory; secrets by name alone."""
    refuse_legacy(query.use_legacy_format)
    return _exported(request, agent_id, query)


@router.post("/{agent_id}/export", response=dict[str, Any])
def export_file_with_skills(
    request: ApiRequest, agent_id: Path[AgentId], data: ExportBody | None = None
) -> HttpResponse:
    """The same, with skills that the caller gives."""
    body = data or ExportBody()
    return _exported(request, agent_id, body, body.skills)


@router.post("/{agent_id}/clone", response=AgentState)
def clone(request: ApiRequest, agent_id: Path[AgentId], data: CloneAgent | None = None) -> HttpResponse:
    """Another agent like this one. A route of this server's own."""
    return answer(state_of(clone_agent(request.caller, agent_id, data or CloneAgent())))


def _exported(
    request: ApiRequest, agent_id: str, chosen: ExportChoices, skills: Sequence[SkillFile] = ()
) -> HttpResponse:
    file = export_agent(
        access.get_agent(request.caller, agent_id),
        conversation_id=chosen.conversation_id,
        messages=not chosen.scrub_messages,
        passages=not chosen.scrub_passages,
        skills=skills,
    )
    return HttpResponse(orjson.dumps(file, option=orjson.OPT_INDENT_2), content_type=JSON)
