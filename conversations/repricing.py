"""Pricing calls anew, as a job that says who and why: with today's price data, as it is valid at each call's time.

The calls' rows are never changed. Each correction is a row beside its call, and the sums take the difference once, also
where the job is killed in the middle: `work` goes on where it was. Steps, runs and budgets keep what was charged then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib.metadata import version
from itertools import groupby
from typing import Any

from django.db import IntegrityError, transaction

from accounts.audit import Deed, note
from agents.ledger_recount import priced_anew
from conversations.ledger_models import Repricing
from core.amounts import as_text
from core.errors import Conflict, Invalid
from core.time import now
from providers.entries import forget, price_overrides
from telemetry import corrections, ledger
from telemetry.corrections import Correction, Job
from telemetry.ledger import Place, Span
from telemetry.queries import TraceRow
from telemetry.repriced import latest
from telemetry.trace import epoch_ms

ZERO = Decimal(0)
LONGEST = timedelta(days=731)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which calls: of the days from `start` to `end`, both included (UTC). `actor_id`: a user; "" is an operator."""

    organization_id: str
    start: date
    end: date
    reason: str
    model: str = ""
    only_unpriced: bool = False
    actor_id: str = ""


@dataclass(slots=True)
class ModelChange:
    """`priced`: calls that had no price. Costs are of the corrected calls alone."""

    provider: str
    model: str
    calls: int = 0
    old_cost_usd: Decimal = ZERO
    new_cost_usd: Decimal = ZERO
    priced: int = 0


Report = Callable[[Repricing], None]


def preview(plan: Plan) -> list[ModelChange]:
    """What `work` would correct. Raises Invalid, TelemetryUnavailable."""
    span = _span(plan)
    changes: dict[tuple[str, str], ModelChange] = {}
    for rows in ledger.pages(span):
        for correction in _corrections(span, rows, ""):
            row, cost = correction.row, correction.prices["cost_usd"]
            change = changes.setdefault((row.provider, row.model), ModelChange(row.provider, row.model))
            change.calls += 1
            change.old_cost_usd += row.cost_usd or ZERO
            change.new_cost_usd += cost
            change.priced += row.cost_usd is None
    return sorted(
        changes.values(), key=lambda one: (-abs(one.new_cost_usd - one.old_cost_usd), one.provider, one.model)
    )


def begin(plan: Plan) -> Repricing:
    """The job, not yet worked at. Raises Invalid, and Conflict while another one of the organization is unfinished."""
    _span(plan)
    if not plan.reason.strip():
        raise Invalid("Say why the calls are priced anew: the reason is kept with each correction.")
    asked = {
        "start": plan.start,
        "end": plan.end,
        "model": plan.model,
        "only_unpriced": plan.only_unpriced,
        "price_data": f"genai-prices {version('genai-prices')}",
    }
    try:
        with transaction.atomic():
            job = Repricing.objects.create(
                organization_id=plan.organization_id, reason=plan.reason[:500], actor_id=plan.actor_id, **asked
            )
            after = asked | {"start": plan.start.isoformat(), "end": plan.end.isoformat()}
            deed = Deed(action="calls.reprice", target=job.pk, after=after, reason=plan.reason[:500])
            note(plan.organization_id, plan.actor_id, deed)
    except IntegrityError:
        found = unfinished(plan.organization_id)
        if found is None:
            raise
        raise Conflict(
            f"{found.pk} is not finished: go on with it by `manage.py reprice --resume {found.pk}`."
        ) from None
    return job


def unfinished(organization_id: str) -> Repricing | None:
    return Repricing.objects.filter(organization_id=organization_id, finished_at=None).first()


def work(job: Repricing, report: Report = lambda job: None) -> list[ModelChange]:
    """Do what is left of it. Several may call it at once, and it may be killed at any time.

    Raises TelemetryUnavailable: then call it again later.
    """
    forget(job.organization_id)
    span = _span_of(job)
    while _page(job, span):
        report(job)
    for number in range((job.end - job.start).days + 1):
        corrections.mend_sums(job.organization_id, job.start + timedelta(days=number))
    result = _result(job, span)
    with transaction.atomic():
        if Repricing.objects.filter(pk=job.pk, finished_at=None).update(
            finished_at=now(), result=[_plain(change) for change in result]
        ):
            after = {"calls": sum(c.calls for c in result), "models": [_plain(change) for change in result[:50]]}
            note(job.organization_id, job.actor_id, Deed(action="calls.repriced", target=job.pk, after=after))
    job.refresh_from_db()
    return result


def _page(job: Repricing, span: Span) -> bool:
    """One page, corrected and noted as done; False: there is none left. Its row is locked, so that they take turns."""
    with transaction.atomic():
        job.refresh_from_db(from_queryset=Repricing.objects.select_for_update())
        if job.finished_at is not None:
            return False
        rows = ledger.page_of(span, Place(job.after_ms, job.after_id))
        if not rows:
            return False
        about = Job(id=str(job.pk), at=job.created_at, actor_id=job.actor_id, reason=job.reason)
        for _, month in groupby(_corrections(span, rows, about.id), lambda c: c.row.created_at.strftime("%Y-%m")):
            corrections.write(about, list(month))
        place = ledger.place_of(rows[-1])
        job.after_ms, job.after_id, job.seen = place.at_ms, place.id, job.seen + len(rows)
        job.save(update_fields=["after_ms", "after_id", "seen", "updated_at"])
    return True


def _corrections(span: Span, rows: Sequence[TraceRow], job_id: str) -> list[Correction]:
    """Of one page, in its order; without those that this job has made already."""
    found = latest(span.organization_id, [(row.id, epoch_ms(row.created_at)) for row in rows])
    left = []
    for row in rows:
        before = found.get(row.id)
        if before is not None and before.repricing_id == job_id:
            continue
        costs = row if before is None else replace(row, **before.prices)
        if not span.only_unpriced or costs.cost_usd is None:
            left.append(costs)
    answers = ledger.answers_of([row for row in left if not row.price_confidence])
    overrides = price_overrides(span.organization_id)
    anew = ((row, priced_anew(row, answers.get(row.id), overrides)) for row in left)
    return [Correction(row, prices) for row, prices in anew if prices is not None]


def _result(job: Repricing, span: Span) -> list[ModelChange]:
    return [ModelChange(*row) for row in ledger.corrected(span, str(job.pk))]


def _span_of(job: Repricing) -> Span:
    return _span(
        Plan(
            organization_id=job.organization_id,
            start=job.start,
            end=job.end,
            reason=job.reason,
            model=job.model,
            only_unpriced=job.only_unpriced,
        )
    )


def _span(plan: Plan) -> Span:
    if plan.end < plan.start:
        raise Invalid(f"{plan.start} comes after {plan.end}: give the first day first.")
    if plan.end - plan.start >= LONGEST:
        raise Invalid("At most two years at once.")
    return Span(
        organization_id=plan.organization_id,
        start=datetime.combine(plan.start, time(), UTC),
        end=datetime.combine(plan.end + timedelta(days=1), time(), UTC),
        model=plan.model,
        only_unpriced=plan.only_unpriced,
    )


def _plain(change: ModelChange) -> dict[str, Any]:
    return {
        "model": f"{change.provider}/{change.model}",
        "calls": change.calls,
        "old_cost_usd": f"{change.old_cost_usd:f}",
        "new_cost_usd": f"{change.new_cost_usd:f}",
        "priced": change.priced,
    }


def table(changes: Iterable[ModelChange]) -> str:
    """For a terminal."""
    rows = [["model", "calls", "old USD", "new USD", "difference", "newly priced"]]
    for one in changes:
        amounts = (one.old_cost_usd, one.new_cost_usd, one.new_cost_usd - one.old_cost_usd)
        costs = [as_text(amount) for amount in amounts]
        rows.append([f"{one.provider}/{one.model}", str(one.calls), *costs, str(one.priced)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(map(str.rjust, row[1:], widths[1:]))]).rstrip() for row in rows
    )
