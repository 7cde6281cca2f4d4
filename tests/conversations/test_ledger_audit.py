"""Whether the books agree: calls with their answers, prices, sums and steps; and what happens where they do not."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from conversations import ledger_audit, tasks
from conversations.ledger_models import LedgerAudit
from conversations.models import Step
from core.time import now
from providers.models import PriceOverride
from telemetry import ledger
from telemetry.explain import explain
from tests.support.api import Tenant
from tests.support.ledger_calls import chat_case, every_case, forget_earlier_calls, in_clickhouse, ship, write_case
from tests.support.turns import thinker, turn

YESTERDAY = now().date() - timedelta(days=1)
NOON = datetime.combine(YESTERDAY, time(12), UTC)


@pytest.fixture
def ours(tenant: Tenant, clickhouse: str, redis: object) -> str:
    forget_earlier_calls()
    return str(tenant.organization.pk)


def kinds(organization_id: str, day: date = YESTERDAY) -> set[str]:
    return {one.kind for one in ledger_audit.audit(organization_id, day).mismatches}


def test_a_day_of_every_vendors_answers_agrees_and_each_cost_is_explained_to_the_last_digit(ours: str) -> None:
    ids = {write_case(ours, case, NOON + timedelta(seconds=n)): case for n, case in enumerate(every_case())}
    ship()
    found = ledger_audit.audit(ours, YESTERDAY)
    assert found.mismatches == []
    assert (found.calls, found.mismatch_count) == (len(ids), 0)
    assert set(found.unchecked) <= {"tokens: estimated", "tokens: the answer gives none"}
    [rows] = ledger.pages(ledger.day_of(ours, YESTERDAY))
    for row in rows:
        why = explain(row)
        assert why.sentences
        assert why.lines or not row.cost_usd
        assert row.cost_usd is None or sum((line.cost_usd for line in why.lines), Decimal(0)) == row.cost_usd
        assert not [line for line in why.lines if line.bucket in ("rounding", "recorded")]
        assert not why.mismatch
        assert row.cost_usd is None or row.price_confidence != "none"
    assert {row.price_tier for row in rows} > {"standard", "flex", "long"}
    assert [row for row in rows if row.given_cost_usd is not None]


def test_a_day_of_runs_agrees_with_its_steps_until_somebody_meddles(tenant: Tenant, ours: str) -> None:
    PriceOverride.objects.create(
        organization=tenant.organization, provider_type="scripted", model="*", input=Decimal(3), output=Decimal(15)
    )
    conversation = thinker(tenant)
    for text in ("Hello", "And now?", "Good night"):
        turn(tenant, conversation, text)
    ship()
    today = now().date()
    steps = {step.trace_call_id: step for step in Step.objects.filter(organization=ours)}
    found = ledger_audit.audit(ours, today)
    assert found.mismatches == []
    assert (found.calls, found.steps) == (len(steps), len(steps))
    assert found.unchecked == {}
    [rows] = ledger.pages(ledger.day_of(ours, today))
    for row in rows:
        step = steps[row.id]
        assert (row.price_tier, row.price_confidence) == (step.price_tier, step.price_confidence) == ("standard", "own")
        assert (row.rate_input, row.rate_cache_read, row.rate_output) == (Decimal(3), Decimal(3), Decimal(15))
        assert row.reported_total_tokens == row.total_tokens

    first, second, third = rows
    in_clickhouse(f"ALTER TABLE llm_traces UPDATE cost_usd = cost_usd + 1 WHERE id = '{first.id}'")
    tampered = ledger_audit.audit(ours, today)
    assert {one.kind for one in tampered.mismatches if one.id == first.id} == {"cost", "step_cost"}
    assert [one.said for one in tampered.mismatches if one.kind == "sums"] == [
        f"the calls say, against {sums.table}: cost_usd +1" for sums in ledger.SUMS
    ]
    in_clickhouse(f"ALTER TABLE llm_traces UPDATE cost_usd = cost_usd - 1 WHERE id = '{first.id}'")
    assert kinds(ours, today) == set()
    in_clickhouse(f"ALTER TABLE llm_traces UPDATE input_tokens = input_tokens + 5 WHERE id = '{second.id}'")
    assert kinds(ours, today) == {"buckets", "tokens", "cost", "sums"}
    in_clickhouse(f"ALTER TABLE llm_traces UPDATE input_tokens = input_tokens - 5 WHERE id = '{second.id}'")
    in_clickhouse(f"INSERT INTO llm_usage_daily (organization_id, day, calls) VALUES ('{ours}', '{today}', 2)")
    assert kinds(ours, today) == {"sums"}
    in_clickhouse(f"DELETE FROM llm_usage_daily WHERE model = '' AND organization_id = '{ours}'")
    in_clickhouse(f"DELETE FROM llm_traces WHERE id = '{third.id}'")
    missing = ledger_audit.audit(ours, today)
    assert {(one.kind, one.id) for one in missing.mismatches if one.kind != "sums"} == {("missing_row", third.id)}
    in_clickhouse(f"INSERT INTO llm_traces SELECT * FROM llm_traces WHERE id = '{first.id}'")
    assert "doubled_row" in kinds(ours, today)


def test_the_command_fails_where_anything_disagrees_and_the_night_writes_it_down(ours: str) -> None:
    ids = [write_case(ours, case, NOON) for case in every_case()[:3]]
    ship()
    out = StringIO()
    call_command("verify_ledger", day=YESTERDAY, organization=ours, stdout=out)
    assert f"The ledger of {YESTERDAY} agrees." in out.getvalue()
    in_clickhouse(f"ALTER TABLE llm_traces UPDATE reported_total_tokens = 1 WHERE id = '{ids[0]}'")
    out = StringIO()
    with pytest.raises(CommandError) as error:
        call_command("verify_ledger", "--json", day=YESTERDAY, stdout=out)
    assert error.value.returncode == 1
    [line] = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (line["organization_id"], line["agrees"], line["mismatch_count"]) == (ours, False, 1)
    assert (line["mismatches"][0]["kind"], line["mismatches"][0]["id"]) == ("vendor_total", ids[0])
    LedgerAudit.objects.all().delete()
    assert ledger_audit.organizations_of(YESTERDAY) == [ours]
    tasks.audit_organization(ours, YESTERDAY.isoformat())
    kept = LedgerAudit.objects.get(organization=ours, day=YESTERDAY)
    assert (kept.calls, kept.mismatch_count, kept.mismatches[0]["id"]) == (3, 1, ids[0])


def test_a_price_that_is_not_that_of_the_list_is_found_though_the_row_agrees_with_itself(ours: str) -> None:
    write_case(ours, chat_case("gpt-4o-mini"), NOON)
    ship()
    assert kinds(ours) == set()
    doubled = ", ".join(f"{name} = 2 * {name}" for name in ("cost_usd", "rate_input", "rate_output"))
    in_clickhouse(f"ALTER TABLE llm_traces UPDATE {doubled} WHERE model = 'gpt-4o-mini'")
    assert kinds(ours) == {"price", "sums"}


def test_with_clickhouse_away_the_night_says_that_it_knows_nothing(tenant: Tenant, settings: Any) -> None:
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/none"
    kept = ledger_audit.audit_and_keep(str(tenant.organization.pk), YESTERDAY)
    assert (kept.calls, kept.mismatch_count) == (0, 0)
    assert "ClickHouse did not answer" in kept.problem
