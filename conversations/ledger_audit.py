"""Do the books agree? One organization's calls of one day, counted again from what was said and charged.

Each call against its own columns, against the tokens in its answer and against the price list of its time; the calls
against the sums; and the steps in PostgreSQL against the calls. A page at a time, so that memory stays bounded.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import transaction

from accounts.models import Organization
from agents.ledger_recount import Mismatch, check
from conversations.ledger_models import LedgerAudit
from conversations.models import Step
from core.time import now
from providers.entries import forget, price_overrides
from telemetry import ledger
from telemetry.client import TelemetryUnavailable
from telemetry.ledger import Difference, Span
from telemetry.models.deletion import Scope, TraceDeletion
from telemetry.queries import TraceRow

log = logging.getLogger(__name__)

STEPS_AT_A_TIME = 1_000
KEPT = 200
KEPT_DAYS = 400
# A call is begun before its step is written: around midnight, the day before.
MARGIN = timedelta(days=1)


@dataclass(slots=True)
class Audit:
    """`mismatches`: the first ones; `mismatch_count` of all. `unchecked`: reasons, each with its number of calls."""

    organization_id: str
    day: date
    calls: int = 0
    steps: int = 0
    mismatch_count: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)

    @property
    def agrees(self) -> bool:
        return not self.mismatch_count

    def add(self, *found: Mismatch) -> None:
        self.mismatch_count += len(found)
        self.mismatches += found[: max(0, KEPT - len(self.mismatches))]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"day": self.day.isoformat(), "unchecked": dict(self.unchecked), "agrees": self.agrees}


def audit(organization_id: str, day: date) -> Audit:
    """Raises TelemetryUnavailable."""
    found = Audit(organization_id, day)
    forget(organization_id)
    for rows in ledger.pages(ledger.day_of(organization_id, day)):
        _check_page(found, rows)
    _check_sums(found)
    for steps in _steps(organization_id, day):
        _check_steps(found, steps)
    return found


def organizations_of(day: date) -> list[str]:
    """Those with calls or steps on that day. Raises TelemetryUnavailable."""
    span = ledger.day_of("", day)
    stepped = Step.objects.filter(created_at__gte=span.start, created_at__lt=span.end)
    known = {*ledger.organizations_of(day), *stepped.order_by().values_list("organization_id", flat=True).distinct()}
    return [str(pk) for pk in Organization.objects.filter(pk__in=known).order_by("pk").values_list("pk", flat=True)]


def keep(found: Audit, problem: str = "") -> LedgerAudit:
    """The day's result, instead of one from before."""
    with transaction.atomic():
        row, _ = LedgerAudit.objects.update_or_create(
            organization_id=found.organization_id,
            day=found.day,
            defaults={
                "checked_at": now(),
                "calls": found.calls,
                "steps": found.steps,
                "mismatch_count": found.mismatch_count,
                "mismatches": [asdict(one) for one in found.mismatches],
                "unchecked": dict(found.unchecked),
                "problem": problem[:300],
            },
        )
        LedgerAudit.objects.filter(
            organization_id=found.organization_id, day__lt=found.day - timedelta(days=KEPT_DAYS)
        ).delete()
    return row


def audit_and_keep(organization_id: str, day: date) -> LedgerAudit:
    """For the nightly task: whatever comes of it is written down."""
    try:
        found = audit(organization_id, day)
    except TelemetryUnavailable as error:
        return keep(Audit(organization_id, day), f"{error.message} Audit it again: manage.py verify_ledger --day {day}")
    if not found.agrees:
        log.error("The ledger of %s on %s does not agree: %d mismatches", organization_id, day, found.mismatch_count)
    return keep(found)


def _check_page(found: Audit, rows: Sequence[TraceRow]) -> None:
    answers = ledger.answers_of(rows)
    overrides = price_overrides(found.organization_id)
    for row in rows:
        checked = check(row, answers.get(row.id), overrides)
        found.add(*checked.mismatches)
        found.unchecked.update(checked.unchecked)
    found.calls += len(rows)
    _check_costs_of_steps(found, rows)


def _check_costs_of_steps(found: Audit, rows: Sequence[TraceRow]) -> None:
    by_step = {row.step_id for row in rows if row.step_id.startswith("step-")}
    known = Step.objects.filter(organization_id=found.organization_id, pk__in=by_step)
    charged = {str(pk): (call, cost) for pk, call, cost in known.values_list("pk", "trace_call_id", "cost_usd")}
    for row in rows:
        if row.step_id not in by_step:
            continue
        if row.step_id not in charged:
            found.unchecked["step: it is not in PostgreSQL any more, or never was"] += 1
            continue
        call_id, cost = charged[row.step_id]
        if call_id == row.id and cost != row.cost_usd:
            found.add(Mismatch("step_cost", row.id, f"{row.step_id} was charged {cost} USD, its call {row.cost_usd}"))


def _steps(organization_id: str, day: date) -> Iterator[list[tuple[str, str]]]:
    """(step, its call) of steps that were written on that day."""
    start = datetime.combine(day, time(), UTC)
    steps = Step.objects.filter(
        organization_id=organization_id, created_at__gte=start, created_at__lt=start + timedelta(days=1)
    ).exclude(trace_call_id="")
    page: list[tuple[str, str]] = []
    for pk, call_id in steps.order_by("-created_at").values_list("pk", "trace_call_id").iterator(STEPS_AT_A_TIME):
        page.append((str(pk), call_id))
        if len(page) == STEPS_AT_A_TIME:
            yield page
            page = []
    if page:
        yield page


def _check_steps(found: Audit, steps: Sequence[tuple[str, str]]) -> None:
    span = ledger.day_of(found.organization_id, found.day)
    calls = [call_id for _, call_id in steps]
    times = ledger.times_there(found.organization_id, span.start - MARGIN, span.end + MARGIN, calls)
    excused = _rows_were_deleted(span)
    for step_id, call_id in steps:
        often = times.get(call_id, 0)
        if often > 1:
            found.add(Mismatch("doubled_row", call_id, f"the call of {step_id} is there {often} times"))
        elif not often and excused:
            found.unchecked["step: traces of that day were deleted on request"] += 1
        elif not often:
            found.add(Mismatch("missing_row", call_id, f"the call of {step_id} is not in ClickHouse"))
    found.steps += len(steps)


def _check_sums(found: Audit) -> None:
    wrong = ledger.differences(found.organization_id, found.day)
    if wrong and _rows_were_deleted(ledger.day_of(found.organization_id, found.day)):
        kept = [one for one in wrong if not _may_be_of_deleted(one)]
        found.unchecked["sums: traces of that day were deleted on request, sums stay"] += len(wrong) - len(kept)
        wrong = kept
    for one in wrong:
        found.add(Mismatch("sums", "/".join(map(str, one.key[1:])), _said(one)))


def _may_be_of_deleted(one: Difference) -> bool:
    """Their sums stay. Where price sources are told apart, a correction moves a call from one to another."""
    if one.is_erased:
        return True
    moves_calls = "price_source" in one.sums.keys
    return one.figures.get("calls", 0) <= 0 and (moves_calls or not one.is_correction)


def _said(one: Difference) -> str:
    parts = [
        f"{name} {value:+f}" if name == "cost_usd" else f"{name} {value:+d}" for name, value in one.figures.items()
    ]
    return f"the calls say, against {one.sums.table}: {', '.join(parts)}"


def _rows_were_deleted(span: Span) -> bool:
    """An agent's or an end user's traces; where all of an organization goes, its sums go as well."""
    wanted = TraceDeletion.objects.filter(organization_id=span.organization_id, cut_off__gt=span.start)
    return wanted.exclude(started_at=None).exclude(scope=Scope.ORGANIZATION).exists()
