"""Runs: how each ended, its steps on one line of time, what was said, and stopping one that still goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from accounts.models import ApiKey
from console.access import OPERATORS, may
from console.display import short, span
from conversations import callbacks
from conversations.actions import cancel_run
from conversations.admin.columns import SpentAdmin, tokens_of
from conversations.admin.turns import turns_of
from conversations.admin.webhooks import callback_of
from conversations.models import ACTIVE, Run, RunStatus, Step
from core.errors import Conflict
from core.time import to_ms

MOST_STEPS = 200
MOST_MESSAGES = 60
CANCELLABLE = frozenset({*ACTIVE, RunStatus.WAITING_APPROVAL})


@dataclass(frozen=True, slots=True)
class Lane:
    """A step's spans in thousandths of the run's whole time."""

    step: Step
    start: float
    wait: float
    write: float
    tools: float


def lanes(run: Run, steps: list[Step]) -> list[Lane]:
    start = min([step.started_at for step in steps], default=run.started_at or run.created_at)
    whole = max([_end_ms(step, start) for step in steps], default=0) or 1
    return [_lane(step, start, whole) for step in steps]


def _end_ms(step: Step, start: datetime) -> int:
    return to_ms(start, step.started_at) + (step.total_ms or (step.model_ms or 0) + (step.tools_ms or 0))


def _lane(step: Step, start: datetime, whole: int) -> Lane:
    model, first = step.model_ms or 0, min(step.ttft_ms or 0, step.model_ms or 0)
    return Lane(
        step,
        start=1000 * to_ms(start, step.started_at) / whole,
        wait=1000 * first / whole,
        write=1000 * (model - first) / whole,
        tools=1000 * (step.tools_ms or 0) / whole,
    )


@admin.register(Run)
class RunAdmin(SpentAdmin):
    ended_well = RunStatus.COMPLETED
    list_display = (
        "run",
        "state",
        "begun",
        "agent_link",
        "ended_by",
        "steps_number",
        "tokens",
        "cost",
        "first",
        "took",
        "organization",
    )
    list_filter = ("status",)
    search_fields = ("trace_id__exact",)
    search_help_text = "By id: of a run, an agent, a conversation, an API key; or by trace id"
    id_lookups = {"agent": "agent_id", "conv": "conversation_id", "key": "api_key_id"}

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        columns = ("status", "stop_reason", "step_count", "usage", "cost_usd", "ttft_ms", "started_at", "completed_at")
        return rows.only(*columns, "created_at", "agent__name", "organization__name"), duplicates

    @admin.display(description="run")
    def run(self, obj: Run) -> str:
        return short(str(obj.pk))

    @admin.display(description="ended by")
    def ended_by(self, obj: Run) -> str:
        return (obj.stop_reason or "–").replace("_", " ")

    @admin.display(description="steps", ordering="step_count")
    def steps_number(self, obj: Run) -> int:
        return obj.step_count

    @admin.display(description="took")
    def took(self, obj: Run) -> str:
        return span(to_ms(obj.started_at, obj.completed_at)) if obj.started_at and obj.completed_at else "–"

    # Pages

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        cancel, again = view(require_POST(self.cancel_view)), view(require_POST(self.callback_view))
        return [
            path("<path:object_id>/cancel/", cancel, name="conversations_run_cancel"),
            path("<path:object_id>/callback/", again, name="conversations_run_callback"),
            *super().get_urls(),
        ]

    def may_cancel(self, request: HttpRequest, run: Run) -> bool:
        return run.status in CANCELLABLE and may(request, OPERATORS, str(run.organization_id))

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self.reach(request, object_id)
        if not may(request, OPERATORS, str(run.organization_id)):
            raise PermissionDenied
        if cancel_run(run):
            self.log_change(request, run, "Cancelled.")
            messages.success(request, "Cancelled. What was done before stays.")
        else:
            messages.info(request, "The run had ended already.")
        return redirect("admin:conversations_run_change", object_id)

    def callback_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self.reach(request, object_id)
        if not may(request, OPERATORS, str(run.organization_id)):
            raise PermissionDenied
        try:
            callbacks.send_again(run, str(request.user.pk))
        except Conflict as error:
            messages.error(request, error.message)
        else:
            messages.success(request, "The callback is sent again within seconds.")
        return redirect("admin:conversations_run_change", object_id)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        run = self.get_object(request, object_id)
        if run is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        steps = list(run.steps.order_by("index", "attempt")[:MOST_STEPS])
        said = list(run.messages.order_by("seq").defer("text")[: MOST_MESSAGES + 1])
        key = ApiKey.objects.filter(pk=run.api_key_id).first() if run.api_key_id else None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": run,
            "title": short(str(run.pk)),
            "lanes": lanes(run, steps),
            "turns": turns_of(said[:MOST_MESSAGES]),
            "more_messages": len(said) > MOST_MESSAGES,
            "api_key": key,
            "tokens": tokens_of(run.usage),
            "took": to_ms(run.started_at, run.completed_at) if run.started_at and run.completed_at else None,
            "may_cancel": self.may_cancel(request, run),
            "callback": callback_of(run) if run.callback_url else None,
            "may_send_again": run.status not in ACTIVE and may(request, OPERATORS, str(run.organization_id)),
        }
        return TemplateResponse(request, "console/conversations/run.html", context)
