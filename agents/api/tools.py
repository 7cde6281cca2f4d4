"""/v1/tools: the tools that agents can be given."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents import access
from agents.api.answers import answer, answer_list, answer_plain
from agents.queries import find_tools
from agents.schemas.base import ToolId
from agents.schemas.tools import ToolCountFilters, ToolOut, ToolQuery, tool_out
from core.pagination import page

router = Router(tags=["tools"])


@router.get("/", response=list[ToolOut])
def list_tools(request: ApiRequest, query: Query[ToolQuery]) -> HttpResponse:
    rows = find_tools(request.caller, query, request.project_id)
    return answer_list(map(tool_out, page(rows, query.cursor())))


@router.get("/count", response=int)
def count_tools(request: ApiRequest, query: Query[ToolCountFilters]) -> HttpResponse:
    return answer_plain(find_tools(request.caller, query, request.project_id).count())


@router.get("/{tool_id}", response=ToolOut)
def retrieve_tool(request: ApiRequest, tool_id: Path[ToolId]) -> HttpResponse:
    return answer(tool_out(access.get_tool(request.caller, tool_id)))
