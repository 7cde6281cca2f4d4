"""/v1/agents/{agent_id}/core-memory: the memory blocks of one agent."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents import access, actions
from agents.api.answers import answer, answer_list
from agents.schemas.agents import AgentState, Memory
from agents.schemas.base import AgentId, BlockId, Label
from agents.schemas.blocks import AgentBlockPage, BlockOut, UpdateBlock, block_out
from agents.states import memory_of, state_of
from core.pagination import page

router = Router(tags=["agents.blocks"])


@router.get("/{agent_id}/core-memory", response=Memory, deprecated=True)
def retrieve_memory(request: ApiRequest, agent_id: Path[AgentId]) -> HttpResponse:
    agent = access.get_agent(request.caller, agent_id)
    return answer(memory_of(agent, access.blocks_of(request.caller).filter(agents=agent).order_by("agentblock__id")))


@router.get("/{agent_id}/core-memory/blocks", response=list[BlockOut])
def list_agent_blocks(request: ApiRequest, agent_id: Path[AgentId], query: Query[AgentBlockPage]) -> HttpResponse:
    access.check_agent(request.caller, agent_id)
    rows = access.blocks_of(request.caller).filter(agentblock__agent_id=agent_id)
    return answer_list(map(block_out, page(rows, query.cursor())))


@router.patch("/{agent_id}/core-memory/blocks/attach/{block_id}", response=AgentState)
def attach_block(request: ApiRequest, agent_id: Path[AgentId], block_id: Path[BlockId]) -> HttpResponse:
    return answer(state_of(actions.attach_block(request.caller, agent_id, block_id)))


@router.patch("/{agent_id}/core-memory/blocks/detach/{block_id}", response=AgentState)
def detach_block(request: ApiRequest, agent_id: Path[AgentId], block_id: Path[BlockId]) -> HttpResponse:
    return answer(state_of(actions.detach_block(request.caller, agent_id, block_id)))


# A label may hold slashes, so these come after every longer path.
@router.get("/{agent_id}/core-memory/blocks/{path:block_label}", response=BlockOut)
def retrieve_agent_block(request: ApiRequest, agent_id: Path[AgentId], block_label: Path[Label]) -> HttpResponse:
    return answer(block_out(access.get_agent_block(request.caller, agent_id, block_label)))


@router.patch("/{agent_id}/core-memory/blocks/{path:block_label}", response=BlockOut)
def update_agent_block(
    request: ApiRequest, agent_id: Path[AgentId], block_label: Path[Label], data: UpdateBlock
) -> HttpResponse:
    block = access.get_agent_block(request.caller, agent_id, block_label)
    return answer(block_out(actions.change_block(request.caller, block.pk, data.changes())))
