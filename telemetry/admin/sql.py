"""The SQL console: one SELECT over the traces of one organization, as a table or as CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.audit import Deed, note
from accounts.models import Organization
from console.access import ADMINS, is_superuser, may, organization_ids, picked
from console.export import csv_response
from console.registry import Page, register_page
from core.errors import AppError
from telemetry import sql_console

TEMPLATE = "console/telemetry/sql.html"
SHOWN_ROWS = 500
SHOWN_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Example:
    label: str
    sql: str


EXAMPLES = (
    Example(
        "Spend by model, last 7 days",
        "SELECT model, sum(cost_usd) AS usd, count() AS calls\n"
        "FROM llm_traces WHERE created_at > now() - INTERVAL 7 DAY\n"
        "GROUP BY model ORDER BY usd DESC",
    ),
    Example(
        "Dearest end users this month",
        "SELECT identity_id, sum(cost_usd) AS usd, sum(total_tokens) AS tokens\n"
        "FROM llm_traces WHERE created_at >= toStartOfMonth(now())\n"
        "GROUP BY identity_id ORDER BY usd DESC LIMIT 50",
    ),
    Example(
        "Slowest calls today",
        "SELECT created_at, model, latency_ms, ttft_ms, completion_tokens, id\n"
        "FROM llm_traces WHERE created_at >= today()\n"
        "ORDER BY latency_ms DESC LIMIT 50",
    ),
    Example(
        "Errors by hour and kind",
        "SELECT toStartOfHour(created_at) AS hour, provider, error_type, count() AS calls\n"
        "FROM llm_traces WHERE is_error AND created_at > now() - INTERVAL 2 DAY\n"
        "GROUP BY ALL ORDER BY hour DESC",
    ),
)


def sql_view(request: HttpRequest) -> HttpResponse:
    if not may(request, ADMINS):
        raise PermissionDenied("The SQL console is for owners and admins of an organization.")
    sql = (request.POST if request.method == "POST" else request.GET).get("sql", "")
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "SQL",
        "sql": sql or EXAMPLES[0].sql,
        "examples": EXAMPLES,
        "available": sql_console.available(),
        "most_rows": sql_console.MOST_ROWS,
    }
    reach = _reach(request)
    context |= {"reach": reach}
    if context["available"] and reach is not None:
        try:
            context["tables"] = sql_console.tables()
            if request.method == "POST":
                answer = _ask(request, reach, sql)
                if request.POST.get("format") == "csv":
                    return csv_response("query", [column.name for column in answer.columns], answer.rows)
                context |= _shown(answer)
        except AppError as error:
            context["refused"] = error.message
    return TemplateResponse(request, TEMPLATE, context)


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose rows are asked; `organization_id` None: everybody's."""

    organization_id: str | None
    name: str


def _reach(request: HttpRequest) -> Reach | None:
    """None where it is not said which of several organizations."""
    chosen = picked(request)
    if chosen is None and is_superuser(request):
        return Reach(None, "the whole installation")
    if chosen is None:
        own = organization_ids(request, ADMINS) or []
        chosen = own[0] if len(own) == 1 else None
    if chosen is None or not may(request, ADMINS, chosen):
        return None
    return Reach(chosen, str(Organization.objects.get(pk=chosen)))


def _ask(request: HttpRequest, reach: Reach, sql: str) -> sql_console.Answer:
    answer = sql_console.ask(reach.organization_id, sql)
    if reach.organization_id is not None:
        after = {"sql": sql[: sql_console.LONGEST_SQL], "rows": len(answer.rows)}
        note(reach.organization_id, str(request.user.pk), Deed(action="traces.query", after=after))
    return answer


def _shown(answer: sql_console.Answer) -> dict[str, Any]:
    rows = [[_cell(value) for value in row] for row in answer.rows[:SHOWN_ROWS]]
    return {"answer": answer, "rows": rows, "more": len(answer.rows) - len(rows)}


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    text = f"{value:f}" if hasattr(value, "as_tuple") else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


register_page(Page("telemetry/sql/", "telemetry_sql", sql_view))
