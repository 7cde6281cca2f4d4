"""Pricing calls anew: corrected once, whoever is killed when; rows, steps and runs stay as they were."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from accounts.models import AuditEntry
from conversations import ledger_audit, repricing
from conversations.ledger_models import Repricing
from conversations.repricing import Plan
from core.errors import Conflict
from core.time import now
from providers.entries import forget
from providers.models import PriceOverride
from telemetry import ledger, queries
from telemetry.calls import list_calls
from telemetry.explain import explain
from telemetry.filters import TraceFilters, wanted_by
from telemetry.models.deletion import Scope
from telemetry.stores import REPRICINGS, ClickHouseStore, Wanted
from tests.support.api import Tenant
from tests.support.ledger_calls import chat_case, forget_earlier_calls, in_clickhouse, ship, sums_of, write_case

FIRST, LAST = date(2026, 4, 30), date(2026, 5, 1)
SUMS = ("llm_usage_daily", "llm_usage_hourly", "llm_usage_daily_recount", "llm_usage_hourly_recount", "llm_ledger")
UNKNOWN = Decimal("0.00105")  # 1,000 in at 0.8, 100 out at 2.5 USD per million
KNOWN = Decimal("0.00021")  # gpt-4o-mini, at 0.15 and 0.60


@pytest.fixture
def ours(tenant: Tenant, clickhouse: str) -> str:
    """Five calls without a price and two with one, around the end of a month."""
    forget_earlier_calls()
    organization_id = str(tenant.organization.pk)
    at = datetime(2026, 4, 30, 23, 59, tzinfo=UTC)
    for number in range(5):
        write_case(organization_id, chat_case("our-own"), at + timedelta(seconds=25 * number))
    for number in range(2):
        write_case(organization_id, chat_case("gpt-4o-mini"), at + timedelta(seconds=50 * number))
    ship()
    return organization_id


def price(tenant: Tenant, model: str = "our-own", **given: Decimal) -> None:
    rates = given or {"input": Decimal("0.8"), "output": Decimal("2.5")}
    PriceOverride.objects.create(organization=tenant.organization, model=model, **rates)
    forget(str(tenant.organization.pk))


def plan(ours: str, **given: object) -> Plan:
    known: dict[str, object] = {"organization_id": ours, "start": FIRST, "end": LAST, "reason": "A price was missing"}
    return Plan(**(known | given))  # type: ignore[arg-type]


def interrupted(job: Repricing) -> None:
    raise KeyboardInterrupt


def test_unpriced_calls_are_corrected_once_although_the_job_dies_in_between(
    tenant: Tenant, ours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PAGE", 2)
    assert {sums_of(table) for table in SUMS} == {(7, 5, 2 * KNOWN)}
    price(tenant)
    expected = [("our-own", 5, Decimal(0), 5 * UNKNOWN, 5)]
    shown = repricing.preview(plan(ours))
    assert [(c.model, c.calls, c.old_cost_usd, c.new_cost_usd, c.priced) for c in shown] == expected

    job = repricing.begin(plan(ours, only_unpriced=True))
    with pytest.raises(Conflict, match=f"--resume {job.pk}"):
        repricing.begin(plan(ours))
    with pytest.raises(KeyboardInterrupt):
        repricing.work(job, interrupted)
    assert sums_of("llm_usage_daily") == (7, 3, 2 * KNOWN + 2 * UNKNOWN)
    # As if it had been killed between ClickHouse's answer and its own note, and ClickHouse before it had all the sums.
    Repricing.objects.filter(pk=job.pk).update(after_ms=0, after_id="")
    in_clickhouse("ALTER TABLE llm_usage_hourly DELETE WHERE calls = 0 AND cost_usd != 0")
    result = repricing.work(Repricing.objects.get(pk=job.pk))

    assert [(c.model, c.calls, c.old_cost_usd, c.new_cost_usd, c.priced) for c in result] == expected
    assert {sums_of(table) for table in SUMS} == {(7, 0, 2 * KNOWN + 5 * UNKNOWN)}
    assert in_clickhouse("SELECT count(), uniq(id) FROM llm_repricings") == [(5, 5)]
    assert in_clickhouse("SELECT countIf(isNull(cost_usd)) FROM llm_traces") == [(5,)]  # the rows stay
    by_source = "SELECT price_source, sum(calls), sum(total_tokens), sum(cost_usd) FROM llm_ledger GROUP BY 1 HAVING 2"
    found = {source: rest for source, *rest in in_clickhouse(by_source)}
    assert found["override"] == [5, 5500, 5 * UNKNOWN]
    assert found["unpriced"] == [0, 0, Decimal(0)]
    for day in (FIRST, LAST):
        assert ledger_audit.audit(ours, day).mismatches == []
    actions = AuditEntry.objects.filter(target=job.pk).order_by("created_at").values_list("action", "reason")
    assert list(actions) == [("calls.reprice", "A price was missing"), ("calls.repriced", "")]
    assert repricing.work(repricing.begin(plan(ours))) == []  # there is nothing left to correct


def test_a_repriced_call_shows_what_it_costs_now_and_why(tenant: Tenant, ours: str) -> None:
    price(tenant)
    job = repricing.begin(plan(ours))
    repricing.work(job)
    call_id = next(row.id for row in list_calls(wanted_by(ours, TraceFilters())).rows if row.model == "our-own")
    shown = queries.get_trace(ours, call_id)
    assert shown is not None
    assert shown.repricing is not None
    assert (shown.row.cost_usd, shown.row.price_source, shown.row.rate_input) == (UNKNOWN, "override", Decimal("0.8"))
    assert (shown.repricing.repricing_id, shown.repricing.old_cost_usd) == (job.pk, None)
    why = explain(shown.row, shown.repricing)
    assert [(line.bucket, line.tokens, line.cost_usd) for line in why.lines] == [
        ("input", 1000, Decimal("0.0008")),
        ("output", 100, Decimal("0.00025")),
    ]
    assert "without a price before" in why.sentences[-1]

    PriceOverride.objects.all().delete()
    price(tenant, input=Decimal(8), output=Decimal(25))
    price(tenant, "gpt-4o-mini", factor=Decimal("0.5"))
    repricing.work(repricing.begin(plan(ours, reason="It was ten times as much")))
    again = queries.get_trace(ours, call_id)
    assert again is not None
    assert again.repricing is not None
    assert (again.row.cost_usd, again.repricing.old_cost_usd) == (10 * UNKNOWN, UNKNOWN)
    assert {sums_of(table) for table in SUMS} == {(7, 0, KNOWN + 50 * UNKNOWN)}


def test_the_command_says_what_would_change_and_then_changes_it(tenant: Tenant, ours: str) -> None:
    price(tenant)
    asked = {"organization": ours, "start": FIRST, "end": FIRST, "reason": "why"}
    out = StringIO()
    call_command("reprice", "--dry-run", **asked, stdout=out)
    assert out.getvalue().split()[-6:] == ["openai/our-own", "3", "0", "0.00315", "0.00315", "3"]
    assert not Repricing.objects.exists()
    call_command("reprice", **asked, stdout=StringIO())
    assert sums_of("llm_usage_daily") == (7, 2, 2 * KNOWN + 3 * UNKNOWN)
    out = StringIO()
    call_command("reprice", "--dry-run", **asked, stdout=out)
    assert out.getvalue() == "Nothing would change.\n"
    with pytest.raises(CommandError, match="reason is kept"):
        call_command("reprice", **(asked | {"reason": ""}), stdout=StringIO())
    with pytest.raises(CommandError, match="was finished"):
        call_command("reprice", resume=Repricing.objects.get().pk, stdout=StringIO())


def test_corrections_go_where_their_calls_are_deleted(tenant: Tenant, ours: str) -> None:
    price(tenant)
    repricing.work(repricing.begin(plan(ours)))
    wanted = Wanted(organization_id=ours, scope=Scope.ORGANIZATION, target_id="", cut_off=now())
    agents = Wanted(organization_id=ours, scope=Scope.AGENT, target_id="agent-1", cut_off=now())
    store = ClickHouseStore(settings.CLICKHOUSE_URL)
    assert [piece for piece in store.plan(agents) if piece.table == REPRICINGS] == []
    in_clickhouse("ALTER TABLE llm_repricings UPDATE agent_id = 'agent-1' WHERE toMonth(created_at) = 4")
    pieces = [piece for piece in store.plan(agents) if piece.table == REPRICINGS]
    assert [(piece.partition, piece.found) for piece in pieces] == [("202604", 3)]
    store.delete(agents, pieces[0])
    assert [(piece.partition, piece.found) for piece in store.plan(wanted) if piece.table == REPRICINGS] == [
        ("202605", 2)
    ]
