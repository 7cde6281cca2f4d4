"""/v1/blocks: memory blocks by themselves, and the agents that have them."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents import access, actions
from agents.api.answers import answer, answer_list, answer_plain
from agents.queries import find_blocks
from agents.schemas.agents import AgentPage, AgentState
from agents.schemas.base import BlockId
from agents.schemas.blocks import BlockFilters, BlockOut, BlockQuery, CreateBlock, UpdateBlock, block_out
from agents.states import states_of
from core.pagination import page

router = Router(tags=["blocks"])


@router.post("/", response=BlockOut)
def create_block(request: ApiRequest, data: CreateBlock) -> HttpResponse:
    return answer(block_out(actions.create_block(request.caller, data)))


@router.get("/", response=list[BlockOut])
def list_blocks(request: ApiRequest, query: Query[BlockQuery]) -> HttpResponse:
    rows = find_blocks(request.caller, query, request.project_id)
    return answer_list(map(block_out, page(rows, query.cursor())))


@router.get("/count", response=int)
def count_blocks(request: ApiRequest, query: Query[BlockFilters]) -> HttpResponse:
    return answer_plain(find_blocks(request.caller, query, request.project_id).count())


@router.get("/{block_id}", response=BlockOut)
def retrieve_block(request: ApiRequest, block_id: Path[BlockId]) -> HttpResponse:
    return answer(block_out(access.get_block(request.caller, block_id)))


@router.patch("/{block_id}", response=BlockOut)
def update_block(request: ApiRequest, block_id: Path[BlockId], data: UpdateBlock) -> HttpResponse:
    access.get_block(request.caller, block_id)
    return answer(block_out(actions.change_block(request.caller, block_id, data.changes())))


@router.delete("/{block_id}")
def delete_block(request: ApiRequest, block_id: Path[BlockId]) -> HttpResponse:
    actions.delete_block(request.caller, block_id)
    return answer_plain(None)


@router.get("/{block_id}/agents", response=list[AgentState])
def list_block_agents(request: ApiRequest, block_id: Path[BlockId], query: Query[AgentPage]) -> HttpResponse:
    access.get_block(request.caller, block_id)
    rows = access.agents_of(request.caller).filter(agentblock__block_id=block_id)
    return answer_list(states_of(page(rows, query.cursor()), query.wanted()))
