"""Finding agents, blocks and tools: the filters of the lists, each one database query."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import CharField, Count, F, Func, Model, Q, QuerySet

from accounts.access import Caller
from agents.access import agents_of, blocks_of, providers_of, tools_of
from agents.models import Agent, Block, Tool, ToolType
from agents.schemas.agents import AgentFilters, TagQuery
from agents.schemas.blocks import BlockFilters
from agents.schemas.providers import ProviderQuery
from agents.schemas.tools import ToolCountFilters, ToolFilters
from core.ids import is_id
from core.pagination import Cursor, page
from providers.entries import Entry, base_entries, base_id
from providers.models import Provider

M = TypeVar("M", bound=Model)


def find_agents(caller: Caller, filters: AgentFilters, project_id: str | None = None) -> QuerySet[Agent]:
    rows = agents_of(caller)
    exact = {
        "name": filters.name,
        "project_id": filters.project_id or project_id,
        "created_by_id": filters.created_by_id,
        "last_stop_reason": filters.last_stop_reason,
    }
    rows = rows.filter(**{field: value for field, value in exact.items() if value is not None})
    rows = _tagged(rows, filters.tags, filters.match_all_tags)
    if filters.query_text:
        rows = rows.filter(name__icontains=filters.query_text)
    if filters.template_id or filters.base_template_id or filters.identity_id or filters.identifier_keys:
        return rows.none()  # no agent here comes from a template, or has an identity
    return rows


def without_hidden(rows: QuerySet[Agent]) -> QuerySet[Agent]:
    return rows.exclude(hidden=True)


def find_blocks(caller: Caller, filters: BlockFilters, project_id: str | None = None) -> QuerySet[Block]:
    rows = blocks_of(caller)
    given = {
        "label": filters.label,
        "template_name": filters.name,
        "is_template": True if filters.templates_only else None,
        "project_id": filters.project_id or project_id,
        "label__icontains": filters.label_search,
        "description__icontains": filters.description_search,
        "value__icontains": filters.value_search,
    }
    rows = rows.filter(**{field: value for field, value in given.items() if value is not None})
    return _connected(_tagged(rows, filters.tags, filters.match_all_tags), filters)


def find_tools(caller: Caller, filters: ToolFilters, project_id: str | None = None) -> QuerySet[Tool]:
    rows = tools_of(caller)
    given = {
        "name": filters.name,
        "name__in": filters.names,
        "pk__in": None if filters.tool_ids is None else [i for i in filters.tool_ids if is_id("tool", i)],
        "tool_type__in": filters.tool_types,
    }
    rows = rows.filter(**{field: value for field, value in given.items() if value is not None})
    if filters.search:
        rows = rows.filter(Q(name__icontains=filters.search) | Q(description__icontains=filters.search))
    if filters.exclude_tool_types:
        rows = rows.exclude(tool_type__in=filters.exclude_tool_types)
    if filters.return_only_letta_tools:
        rows = rows.filter(tool_type__startswith="letta_")
    if isinstance(filters, ToolCountFilters) and filters.exclude_letta_tools:
        rows = rows.filter(tool_type__in=[ToolType.CUSTOM, ToolType.EXTERNAL_MCP])
    if project_id:
        rows = rows.filter(Q(project_id=project_id) | Q(organization_id=None))
    return rows


def find_providers(caller: Caller, query: ProviderQuery) -> list[Provider | Entry]:
    """A page of the organization's own providers, which those of the installation follow."""
    rows = providers_of(caller)
    base = list(base_entries().values())
    if query.name is not None:
        rows, base = rows.filter(name=query.name), [entry for entry in base if entry.name == query.name]
    if query.provider_type is not None:
        rows = rows.filter(provider_type=query.provider_type)
        base = [entry for entry in base if entry.credential.provider_type == query.provider_type]
    ids, cursor = [base_id(entry.name) for entry in base], query.cursor()
    limit = cursor.limit or len(ids)
    if cursor.after in ids:
        return list(base[ids.index(cursor.after) + 1 :][:limit])
    if cursor.before in ids:
        base = base[: ids.index(cursor.before)][-limit:]
        nearest = Cursor(limit=limit - len(base), order="asc" if cursor.order == "desc" else "desc")
        return [*(page(rows, nearest)[::-1] if nearest.limit else ()), *base]
    own = page(rows, cursor)
    return [*own, *([] if cursor.before else base[: limit - len(own)])]


def find_tags(caller: Caller, query: TagQuery) -> list[str]:
    """A page of the tags of the organization's agents, each once, in order of their characters."""
    unnested = Func(F("tags"), function="unnest", output_field=CharField())
    tags = agents_of(caller).order_by().annotate(tag=unnested).values_list("tag", flat=True).distinct()
    text = (query.name or query.query_text or "").lower()
    found = sorted((tag for tag in tags if text in tag.lower()), reverse=query.order == "desc")
    if query.after is not None:
        found = [tag for tag in found if (tag < query.after if query.order == "desc" else tag > query.after)]
    if query.before is not None:
        found = [tag for tag in found if (tag > query.before if query.order == "desc" else tag < query.before)]
        return found[-(query.limit or 50) :] if query.after is None else found[: query.limit or 50]
    return found[: query.limit or 50]


def _tagged(rows: QuerySet[M], tags: list[str] | None, match_all: bool) -> QuerySet[M]:
    if not tags:
        return rows
    return rows.filter(tags__contains=tags) if match_all else rows.filter(tags__overlap=tags)


def _connected(rows: QuerySet[Block], filters: BlockFilters) -> QuerySet[Block]:
    """By how many agents have the block."""
    above, below = filters.connected_to_agents_count_gt, filters.connected_to_agents_count_lt
    equal = filters.connected_to_agents_count_eq
    if above is None and below is None and equal is None:
        return rows
    rows = rows.annotate(connected=Count("agentblock"))
    given = {"connected__gt": above, "connected__lt": below, "connected__in": equal}
    return rows.filter(**{field: value for field, value in given.items() if value is not None})
