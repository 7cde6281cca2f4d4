"""/v1/tools: the tools that agents can be given; an organization's own are made and changed here."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest, BearerKey
from accounts.models import Scope
from agents import access, tool_changes
from agents.api.answers import answer, answer_list, answer_plain
from agents.queries import find_tools
from agents.schemas.base import ToolId
from agents.schemas.tools import (
    FunctionSchema,
    GenerateSchema,
    ToolCountFilters,
    ToolCreate,
    ToolOut,
    ToolQuery,
    ToolSearchRequest,
    ToolSearchResult,
    ToolUpdate,
    tool_out,
)
from agents.sources.derive import Written, function_schema
from agents.tool_search import search_tools as search
from agents.tools.registry import sync_base_tools
from core.pagination import page

router = Router(tags=["tools"])


@router.get("/", response=list[ToolOut])
def list_tools(request: ApiRequest, query: Query[ToolQuery]) -> HttpResponse:
    rows = find_tools(request.caller, query, request.project_id)
    return answer_list(map(tool_out, page(rows, query.cursor())))


@router.get("/count", response=int)
def count_tools(request: ApiRequest, query: Query[ToolCountFilters]) -> HttpResponse:
    return answer_plain(find_tools(request.caller, query, request.project_id).count())


@router.post("/", response=ToolOut)
def create_tool(request: ApiRequest, data: ToolCreate) -> HttpResponse:
    return answer(tool_out(tool_changes.upsert_tool(request.caller, data)))


@router.put("/", response=ToolOut)
def upsert_tool(request: ApiRequest, data: ToolCreate) -> HttpResponse:
    return answer(tool_out(tool_changes.upsert_tool(request.caller, data)))


@router.post("/add-base-tools", response=list[ToolOut])
def add_base_tools(request: ApiRequest) -> HttpResponse:
    sync_base_tools()
    rows = access.tools_of(request.caller).filter(organization=None).order_by("name")
    return answer_list(map(tool_out, rows))


@router.post("/generate-schema", response=FunctionSchema, auth=BearerKey(Scope.READ))
def generate_schema(request: ApiRequest, data: GenerateSchema) -> HttpResponse:
    written = Written(source_code=data.code, source_type=data.source_type or "python")
    return answer_plain(function_schema(written))


@router.post("/search", response=list[ToolSearchResult], auth=BearerKey(Scope.READ))
def search_tools(request: ApiRequest, data: ToolSearchRequest) -> HttpResponse:
    return answer_list(search(request.caller, data))


@router.get("/{tool_id}", response=ToolOut)
def retrieve_tool(request: ApiRequest, tool_id: Path[ToolId]) -> HttpResponse:
    return answer(tool_out(access.get_tool(request.caller, tool_id)))


@router.patch("/{tool_id}", response=ToolOut)
def update_tool(request: ApiRequest, tool_id: Path[ToolId], data: ToolUpdate) -> HttpResponse:
    return answer(tool_out(tool_changes.update_tool(request.caller, tool_id, data)))


@router.delete("/{tool_id}")
def delete_tool(request: ApiRequest, tool_id: Path[ToolId]) -> HttpResponse:
    tool_changes.delete_tool(request.caller, tool_id)
    return answer_plain(None)
