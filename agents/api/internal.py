"""/v1/_internal_blocks and /v1/_internal_agents: what the vendor's own tools call."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents import access
from agents.api import agent_blocks, blocks
from agents.api.answers import answer_plain
from agents.queries import without_hidden
from agents.schemas.agents import AgentPage, AgentState
from agents.schemas.base import AgentId, BlockId, Label
from agents.schemas.blocks import BlockOut, BlockQuery, CreateBlock, UpdateBlock

blocks_router = Router(tags=["internal"])
agents_router = Router(tags=["internal"])


@blocks_router.get("/", response=list[BlockOut])
def list_blocks(request: ApiRequest, query: Query[BlockQuery]) -> HttpResponse:
    return blocks.list_blocks(request, query)


@blocks_router.post("/", response=BlockOut)
def create_block(request: ApiRequest, data: CreateBlock) -> HttpResponse:
    return blocks.create_block(request, data)


@blocks_router.delete("/{block_id}")
def delete_block(request: ApiRequest, block_id: Path[BlockId]) -> HttpResponse:
    return blocks.delete_block(request, block_id)


@blocks_router.get("/{block_id}/agents", response=list[AgentState])
def list_block_agents(request: ApiRequest, block_id: Path[BlockId], query: Query[AgentPage]) -> HttpResponse:
    return blocks.list_block_agents(request, block_id, query)


@agents_router.get("/count", response=int)
def count_agents(request: ApiRequest, exclude_hidden: Query[bool] = True) -> HttpResponse:
    rows = access.agents_of(request.caller)
    return answer_plain((without_hidden(rows) if exclude_hidden else rows).count())


@agents_router.patch("/{agent_id}/core-memory/blocks/{path:block_label}", response=BlockOut)
def update_agent_block(
    request: ApiRequest, agent_id: Path[AgentId], block_label: Path[Label], data: UpdateBlock
) -> HttpResponse:
    return agent_blocks.update_agent_block(request, agent_id, block_label, data)
