"""Sums of deleted traces: the id goes, the amounts stay, also when it is killed in between. Real ClickHouse."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from conversations.ledger_audit import audit
from core.time import now
from telemetry import deletion, erasure
from telemetry.backends.clickhouse import ClickHouse
from telemetry.deletion import Request, advance, request_deletion
from telemetry.models import TraceDeletion
from telemetry.select import SUM_NAMES
from telemetry.shipper import Shipper
from telemetry.spool import Spool
from telemetry.trace import CallEnd, CallStart

LONG_AGO = datetime(2026, 5, 1, 12, tzinfo=UTC)
AGENT, USER = "agent-1", "identity-1"
EVERY = ", ".join(f"sum({name})" for name in (*SUM_NAMES, "request_bytes", "id_checksum"))


@pytest.fixture(autouse=True)
def _spool(settings, tmp_path, clickhouse):
    settings.TELEMETRY_SPOOL_DIR = tmp_path / "spool"
    settings.PROVIDER_TRACE_BACKENDS = ["clickhouse"]


@pytest.fixture
def ship(settings):
    spool = Spool(settings.TELEMETRY_SPOOL_DIR)

    def calls(organization, *times, agent_id=AGENT, identity_id=USER):
        for at in times:
            known = {"call_type": "agent_step", "provider": "openai", "model": "m", "request_json": b"{}"}
            names = {"agent_id": agent_id, "identity_id": identity_id, "organization_id": organization.pk}
            opened = spool.begin(CallStart(id=str(uuid.uuid4()), created_at=at, **known, **names))
            usage = {"input_tokens": 5, "output_tokens": 3, "cost_usd": Decimal("0.25"), "price_source": "list"}
            opened.finish(CallEnd(latency_ms=70, ttft_ms=20, response_json=b"{}", **usage))
        spool.flush()
        Shipper(settings.TELEMETRY_SPOOL_DIR, [ClickHouse()]).ship_once()

    yield calls
    spool.close()


@pytest.fixture
def seeded(tenant, stranger, ship):
    """Calls of two months, of which two had no end user, one was another's; and a stranger's under the same ids."""
    month = timedelta(days=31)
    ship(tenant.organization, LONG_AGO, LONG_AGO, LONG_AGO + month)
    ship(tenant.organization, LONG_AGO, LONG_AGO + month, identity_id="")
    ship(tenant.organization, LONG_AGO, agent_id="agent-2", identity_id="identity-2")
    ship(stranger.organization, LONG_AGO)
    return tenant.organization


def ask(organization, scope="identity", target=USER):
    return request_deletion(Request(organization_id=organization.pk, scope=scope, target_id=target))


def finish(row):
    while advance(str(row.pk)):
        pass
    row.refresh_from_db()
    return row


def by_name(look, organization):
    """Calls and times of calls in the sums, by agent and end user."""
    return {
        (agent, user): (calls, len(latencies))
        for agent, user, calls, latencies in look(
            "SELECT agent_id, identity_id, sum(calls) AS n, groupArrayArray(latencies) FROM llm_usage_detail"
            f" WHERE organization_id = '{organization.pk}' GROUP BY 1, 2"
        )
    }


def all_sums(look):
    return look(
        f"SELECT organization_id, toStartOfMonth(hour), {EVERY} FROM llm_usage_detail GROUP BY 1, 2 ORDER BY 1, 2"
    )


def test_the_id_goes_and_every_sum_stays(seeded, stranger, look):
    look(f"DELETE FROM llm_traces WHERE organization_id = '{seeded.pk}' AND toMonth(created_at) = 5")  # expired
    before = all_sums(look)
    row = finish(ask(seeded))
    assert (row.state, row.receipt["sums"]) == ("done", "kept as amounts, without the id: under (erased)")
    assert by_name(look, seeded) == {
        (AGENT, ""): (2, 2),
        (AGENT, "(erased)"): (3, 3),
        ("agent-2", "identity-2"): (1, 1),
    }
    finish(ask(seeded, "agent", AGENT))
    assert by_name(look, seeded) == {
        ("(erased)", ""): (2, 2),
        ("(erased)", "(erased)"): (3, 3),
        ("agent-2", "identity-2"): (1, 1),
    }
    assert by_name(look, stranger.organization) == {(AGENT, USER): (1, 1)}
    assert all_sums(look) == before
    marked = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND active AND has_lightweight_delete"
    assert look(f"{marked} AND table = 'llm_usage_detail'") == [(0,)]
    names = f"SELECT count() FROM llm_usage_detail WHERE organization_id = '{seeded.pk}' AND '{USER}' IN (identity_id, agent_id)"
    assert look(names) == [(0,)]


def test_the_audit_understands_what_was_erased(seeded):
    day = LONG_AGO.date() + timedelta(days=31)
    assert audit(seeded.pk, day).agrees
    finish(ask(seeded))
    found = audit(seeded.pk, day)
    assert found.agrees
    assert found.unchecked["sums: traces of that day were deleted on request, sums stay"] == 3  # one for each table


def test_killed_before_or_after_any_statement_the_sums_are_right_and_it_ends(seeded, look, monkeypatch):
    before, asked, deaths = all_sums(look), ask(seeded), []

    class Killed(BaseException):
        pass

    class Dying:
        def __init__(self, client):
            self.client = client

        def execute(self, sql, *given, **options):
            kind = sql.split()[0]
            changes = kind in ("INSERT", "DELETE")
            if changes and deaths.count(kind) == 0:
                deaths.append(kind)
                raise Killed
            found = self.client.execute(sql, *given, **options)
            if changes and deaths.count(kind) < 3:
                deaths.append(kind)
                raise Killed
            return found

    erase = erasure.erase
    monkeypatch.setattr("telemetry.stores.erase", lambda client, month: erase(Dying(client), month))
    for _ in range(20):
        try:
            while advance(str(asked.pk)):
                pass
            break
        except Killed:
            assert all_sums(look) == before
            TraceDeletion.objects.filter(pk=asked.pk).update(lease_until=now() - timedelta(seconds=1))
    asked.refresh_from_db()
    assert (sorted(deaths), asked.state) == (["DELETE"] * 3 + ["INSERT"] * 3, "done")
    assert all_sums(look) == before
    assert by_name(look, seeded)[AGENT, "(erased)"] == (3, 3)
    assert (AGENT, USER) not in by_name(look, seeded)


def test_what_is_called_after_the_request_keeps_its_name_also_in_the_same_hour(seeded, ship, look):
    ship(seeded, now(), now())
    asked = ask(seeded)
    ship(seeded, now())
    before = all_sums(look)
    assert finish(asked).state == "done"
    assert by_name(look, seeded)[AGENT, USER][0] == 1
    assert by_name(look, seeded)[AGENT, "(erased)"][0] == 5
    assert all_sums(look) == before
    assert audit(seeded.pk, now().date()).mismatches == []


def test_deletions_of_one_organization_take_turns(seeded, stranger):
    first, second, other = ask(seeded), ask(seeded, "agent", AGENT), ask(stranger.organization)
    TraceDeletion.objects.filter(pk=first.pk).update(lease_until=now() + deletion.LEASE, state="running")
    assert not advance(str(second.pk))
    second.refresh_from_db()
    assert second.state == "queued"
    assert finish(other).state == "done"
    TraceDeletion.objects.filter(pk=first.pk).update(lease_until=None)
    assert (finish(first).state, finish(second).state) == ("done", "done")
