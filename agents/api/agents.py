"""/v1/agents: create, find, change and delete agents."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents import access, actions
from agents.api.answers import answer, answer_list, answer_plain
from agents.queries import find_agents
from agents.schemas.agents import AgentFilters, AgentQuery, AgentState, CreateAgent, Including, UpdateAgent
from agents.schemas.base import AgentId
from agents.states import new_state, state_of, states_of
from agents.threads import threads
from core.pagination import page

router = Router(tags=["agents"])


@router.post("/", response=AgentState)
def create_agent(request: ApiRequest, data: CreateAgent) -> HttpResponse:
    return answer(new_state(actions.create_agent(request.caller, data)))


@router.get("/", response=list[AgentState])
def list_agents(request: ApiRequest, query: Query[AgentQuery]) -> HttpResponse:
    rows = find_agents(request.caller, query, request.project_id)
    return answer_list(states_of(page(rows, query.cursor(), key=query.key()), query.wanted()))


@router.get("/count", response=int)
def count_agents(request: ApiRequest, query: Query[AgentFilters]) -> HttpResponse:
    return answer_plain(find_agents(request.caller, query, request.project_id).count())


@router.get("/{agent_id}", response=AgentState)
def retrieve_agent(request: ApiRequest, agent_id: Path[AgentId], query: Query[Including]) -> HttpResponse:
    return answer(state_of(access.get_agent(request.caller, agent_id), query.wanted()))


@router.patch("/{agent_id}", response=AgentState)
def update_agent(request: ApiRequest, agent_id: Path[AgentId], data: UpdateAgent) -> HttpResponse:
    return answer(state_of(actions.update_agent(request.caller, agent_id, data)))


@router.delete("/{agent_id}")
def delete_agent(request: ApiRequest, agent_id: Path[AgentId]) -> HttpResponse:
    actions.delete_agent(request.caller, agent_id)
    return answer_plain({"message": f"Agent id={agent_id} successfully deleted"})


@router.post("/{agent_id}/recompile", response=str)
@router.post("/{agent_id}/system-prompt/recompile", response=str, deprecated=True)
def recompile_agent(
    request: ApiRequest, agent_id: Path[AgentId], dry_run: bool = False, update_timestamp: bool = False
) -> HttpResponse:
    """The system message of the agent's default conversation, compiled anew; stored unless `dry_run`."""
    agent = access.get_agent(request.caller, agent_id)
    return answer_plain(threads().recompile(agent, dry_run=dry_run, update_timestamp=update_timestamp))
