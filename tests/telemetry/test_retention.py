"""Shorter days of one organization leave the others', and the sums, alone. Real ClickHouse."""

import uuid
from datetime import timedelta

import pytest

from core.time import now
from telemetry import retention
from telemetry.backends.clickhouse import ClickHouse
from telemetry.backends.postgres import Postgres
from telemetry.models import RetentionRun, StoredTrace, TracePolicy
from telemetry.shipper import Shipper
from telemetry.spool import Spool
from telemetry.trace import CallEnd, CallStart

AGES = (1, 8, 20, 40)


@pytest.fixture(autouse=True)
def _settings(settings, tmp_path):
    settings.TELEMETRY_SPOOL_DIR = tmp_path / "spool"
    settings.PROVIDER_TRACE_BACKENDS = ["clickhouse", "postgres"]
    settings.TRACE_RETENTION_DAYS, settings.PAYLOAD_RETENTION_DAYS = 90, 30


@pytest.fixture
def aged(clickhouse, settings, tenant, stranger):
    """A call of each age, of ours and of a stranger."""
    spool = Spool(settings.TELEMETRY_SPOOL_DIR)
    for age in AGES:
        for organization in (tenant.organization, stranger.organization):
            start = CallStart(
                id=str(uuid.uuid4()),
                organization_id=organization.pk,
                call_type="agent_step",
                provider="openai",
                model="m",
                created_at=now() - timedelta(days=age),
                request_json=b"{}",
            )
            spool.begin(start).finish(CallEnd(response_json=b"{}"))
    spool.close()
    Shipper(settings.TELEMETRY_SPOOL_DIR, [ClickHouse(), Postgres()]).ship_once()
    return tenant.organization


def ages(look, table, organization):
    days = f"SELECT dateDiff('day', created_at, now()) AS d FROM {table} WHERE organization_id = '{organization.pk}' ORDER BY d"
    return [d for (d,) in look(days)]


def test_an_organizations_own_days_hold_for_it_alone(aged, stranger, look):
    TracePolicy.objects.create(organization=aged, trace_days=30, payload_days=7)
    run = retention.enforce()
    assert ages(look, "llm_traces", aged) == [1, 8, 20]
    assert ages(look, "llm_payloads", aged) == [1]
    assert ages(look, "llm_traces", stranger.organization) == list(AGES)
    assert ages(look, "llm_payloads", stranger.organization) == list(AGES)
    assert look("SELECT sum(calls) FROM llm_usage_daily") == [(8,)]
    assert run.deleted["clickhouse.llm_traces"] == 1
    assert run.deleted["clickhouse.llm_payloads"] == 3
    ours = StoredTrace.objects.filter(organization_id=aged.pk)
    assert (ours.count(), ours.filter(request__isnull=False).count()) == (3, 1)
    # The installation's own days: 30 for what was said.
    theirs = StoredTrace.objects.filter(organization_id=stranger.organization.pk)
    assert (theirs.count(), theirs.filter(request__isnull=False).count()) == (4, 3)


def test_the_next_night_finds_nothing_more_and_both_results_are_kept(aged, look):
    TracePolicy.objects.create(organization=aged, trace_days=7)
    assert retention.enforce().deleted["clickhouse.llm_payloads"] == 3  # no payload outlives its trace
    assert set(retention.enforce().deleted.values()) == {0}
    assert [(r.organizations, r.error) for r in RetentionRun.objects.all()] == [(1, ""), (1, "")]


def test_days_as_long_as_the_installations_are_left_to_clickhouse(tenant, stranger):
    TracePolicy.objects.create(organization=tenant.organization, trace_days=90, payload_days=30)
    TracePolicy.objects.create(organization=stranger.organization, content="full")
    assert retention.cut_offs(now()) == ({}, {})


def test_a_night_without_clickhouse_is_told_and_not_taken_for_done(tenant, settings):
    TracePolicy.objects.create(organization=tenant.organization, trace_days=7)
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/none"
    run = retention.enforce()
    assert "ClickHouse did not answer" in run.error
    assert "clickhouse.llm_traces" not in run.deleted
