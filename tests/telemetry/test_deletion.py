"""Deleting traces: what goes, what stays, what survives a death, and what the receipt says. Real ClickHouse."""

import hashlib
import io
import json
import uuid
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from django.core.management import call_command

from accounts.actions import delete_organization
from accounts.models import AuditEntry, Organization
from core.errors import Conflict, Invalid
from core.time import now
from telemetry import deletion
from telemetry.backends.clickhouse import ClickHouse
from telemetry.backends.postgres import Postgres
from telemetry.deletion import Request, advance, canonical, preview, request_deletion
from telemetry.models import SpoolReport, StoredTrace, TraceDeletion
from telemetry.shipper import Shipper
from telemetry.spool import Spool
from telemetry.spool_state import oldest_call, report
from telemetry.stores import ClickHouseStore
from telemetry.trace import CallEnd, CallStart

LONG_AGO = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _spool(settings, tmp_path):
    settings.TELEMETRY_SPOOL_DIR = tmp_path / "spool"
    settings.PROVIDER_TRACE_BACKENDS = ["clickhouse", "postgres"]


@pytest.fixture
def spool(settings):
    found = Spool(settings.TELEMETRY_SPOOL_DIR)
    yield found
    found.close()


def ship(settings, spool):
    spool.flush()
    Shipper(settings.TELEMETRY_SPOOL_DIR, [ClickHouse(), Postgres()]).ship_once()


def call(spool, organization_id, at=LONG_AGO, **given):
    known = {"call_type": "agent_step", "provider": "openai", "model": "m", "request_json": b'{"said":1}'}
    start = CallStart(id=str(uuid.uuid4()), organization_id=organization_id, created_at=at, **(known | given))
    return start.id, spool.begin(start)


def calls(spool, organization_id, number, **given):
    for n in range(number):
        at = LONG_AGO + timedelta(days=31 * (n % 2))
        _, opened = call(spool, organization_id, at, **given)
        opened.finish(CallEnd(response_json=b'{"ok":1}', output_tokens=3))


def finish(row):
    while advance(str(row.pk)):
        pass
    row.refresh_from_db()
    return row


def rows_of(look, table, organization):
    return look(f"SELECT count() FROM {table} WHERE organization_id = '{organization.pk}'")[0][0]


@pytest.fixture
def seeded(clickhouse, settings, spool, tenant, stranger):
    """Six calls each of two agents of ours over two months, and three of a stranger with the same ids."""
    calls(spool, tenant.organization.pk, 6, agent_id="agent-1", identity_id="identity-1")
    calls(spool, tenant.organization.pk, 6, agent_id="agent-2", identity_id="identity-2")
    calls(spool, stranger.organization.pk, 3, agent_id="agent-1", identity_id="identity-1")
    ship(settings, spool)
    return tenant.organization


@pytest.mark.parametrize(("scope", "target"), [("agent", "agent-1"), ("identity", "identity-1")])
def test_an_agents_or_end_users_traces_go_and_nothing_else(seeded, stranger, look, scope, target):
    sums = look("SELECT organization_id, sum(calls) FROM llm_usage_daily GROUP BY 1 ORDER BY 1")
    asked = Request(organization_id=seeded.pk, scope=scope, target_id=target, reason="GDPR 17")
    row = finish(request_deletion(asked))
    assert (row.state, row.left, row.deleted) == ("done", 0, 18)
    assert {rows_of(look, t, seeded) for t in ("llm_traces", "llm_payloads")} == {6}
    assert {rows_of(look, t, stranger.organization) for t in ("llm_traces", "llm_payloads")} == {3}
    assert StoredTrace.objects.filter(organization_id=seeded.pk).count() == 6
    assert StoredTrace.objects.filter(organization_id=stranger.organization.pk).count() == 3
    assert look("SELECT organization_id, sum(calls) FROM llm_usage_daily GROUP BY 1 ORDER BY 1") == sums
    # Not only hidden: no part holds rows that are marked as deleted.
    marked = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND active AND has_lightweight_delete"
    assert look(marked) == [(0,)]


def test_the_receipt_says_what_was_deleted_and_its_digest_holds(seeded, tenant):
    asked = Request(
        organization_id=seeded.pk, scope="agent", target_id="agent-1", reason="asked", requested_by_id=tenant.user.pk
    )
    row = finish(request_deletion(asked))
    said = row.receipt
    assert said["rows_deleted"] == {
        "clickhouse.llm_payloads": 6,
        "clickhouse.llm_traces": 6,
        "postgres.stored_trace": 6,
    }
    assert (said["rows_left"], said["requested_by"], said["target_id"]) == (0, tenant.user.email, "agent-1")
    assert all(len(piece["ids"]) == 16 for piece in said["pieces"])
    assert row.receipt_sha256 == hashlib.sha256(canonical(said)).hexdigest()
    assert canonical(said) == orjson.dumps(json.loads(json.dumps(said)), option=orjson.OPT_SORT_KEYS)
    deeds = AuditEntry.objects.filter(organization=seeded).order_by("created_at")
    assert [(d.action, d.target, d.actor_id) for d in deeds] == [
        ("traces.delete", "agent-1", tenant.user.pk),
        ("traces.deleted", "agent-1", ""),
    ]
    assert deeds[1].after["sha256"] == row.receipt_sha256


def test_a_deletion_that_was_killed_anywhere_goes_on_and_counts_the_same(seeded, look, monkeypatch):
    """It dies before and after each statement; the lease of the dead runs out."""
    row = request_deletion(Request(organization_id=seeded.pk, scope="agent", target_id="agent-1"))
    deaths, real = [], ClickHouseStore.delete

    class Killed(BaseException):
        pass

    def dying(self, wanted, piece):
        place = (piece.table, piece.partition)
        if deaths.count(place) == 0:
            deaths.append(place)
            raise Killed
        real(self, wanted, piece)
        if deaths.count(place) == 1:
            deaths.append(place)
            raise Killed

    monkeypatch.setattr(ClickHouseStore, "delete", dying)
    for _ in range(60):
        try:
            while advance(str(row.pk)):
                pass
            break
        except Killed:
            assert not advance(str(row.pk))  # the dead one still has the lease
            TraceDeletion.objects.filter(pk=row.pk).update(lease_until=now() - timedelta(seconds=1))
    row.refresh_from_db()
    assert len(deaths) >= 6
    assert (row.state, row.receipt["rows_deleted"]["clickhouse.llm_traces"]) == ("done", 6)
    assert {rows_of(look, t, seeded) for t in ("llm_traces", "llm_payloads")} == {6}


def test_while_clickhouse_is_away_it_waits_and_never_says_done(seeded, settings, look):
    there, settings.CLICKHOUSE_URL = settings.CLICKHOUSE_URL, "clickhouse://127.0.0.1:9/none"
    row = request_deletion(Request(organization_id=seeded.pk, scope="agent", target_id="agent-1"))
    assert not advance(str(row.pk))
    row.refresh_from_db()
    assert (row.state, row.tries) == ("running", 1)
    assert "ClickHouse did not answer" in row.waits_for
    assert row.try_at > now()
    assert deletion.due() == []
    settings.CLICKHOUSE_URL = there
    assert finish(row).state == "done"
    assert rows_of(look, "llm_traces", seeded) == 6


def test_what_is_in_the_spool_when_it_is_asked_for_goes_too(seeded, settings, spool, look, clickhouse):
    _, ended = call(spool, seeded.pk, now(), agent_id="agent-1")
    _, opened = call(spool, seeded.pk, now(), agent_id="agent-1")
    ended.finish(CallEnd(response_json=b"{}"))
    spool.flush()
    row = finish(request_deletion(Request(organization_id=seeded.pk, scope="agent", target_id="agent-1")))
    assert (row.state, rows_of(look, "llm_traces", seeded)) == ("running", 6)
    assert "spool" in row.waits_for
    ship(settings, spool)  # the ended one arrives; the other still runs
    row = finish(row)
    assert (row.state, row.deleted, rows_of(look, "llm_traces", seeded)) == ("running", 21, 6)
    _, later = call(spool, seeded.pk, now(), agent_id="agent-1")
    later.finish(CallEnd())
    opened.finish(CallEnd(response_json=b"{}"))
    ship(settings, spool)
    row = finish(row)
    assert (row.state, row.passes) == ("done", 3)
    assert rows_of(look, "llm_traces", seeded) == 7  # the one that began after it was asked for


def test_a_payload_that_came_in_behind_its_deleted_trace_is_found(seeded, look, clickhouse):
    monkey = f"INSERT INTO llm_payloads (id, organization_id, created_at) VALUES ('late', '{seeded.pk}', '2026-05-02 00:00:00')"
    look(monkey)
    finish(request_deletion(Request(organization_id=seeded.pk, scope="agent", target_id="agent-1")))
    assert look("SELECT count() FROM llm_payloads WHERE id = 'late'") == [(0,)]
    assert rows_of(look, "llm_payloads", seeded) == 6


def test_other_hosts_spools_are_waited_for_by_their_reports(seeded, tmp_path, spool):
    row = request_deletion(Request(organization_id=seeded.pk, scope="agent", target_id="agent-1"))
    other = SpoolReport.objects.create(spool="other:/spool", reported_at=row.cut_off - timedelta(seconds=9))
    assert "silent" in finish(row).waits_for
    SpoolReport.objects.filter(pk=other.pk).update(reported_at=now(), oldest_at=row.cut_off - timedelta(seconds=1))
    assert "other:/spool" in finish(row).waits_for
    _, opened = call(Spool(tmp_path / "third"), seeded.pk, row.cut_off - timedelta(minutes=5))
    report(tmp_path / "third")
    SpoolReport.objects.filter(pk=other.pk).update(oldest_at=None)
    assert "third" in finish(row).waits_for
    opened.finish(CallEnd())
    opened._spool.close()
    assert oldest_call(tmp_path / "third") is not None
    for path in (tmp_path / "third").iterdir():
        path.unlink()
    report(tmp_path / "third")
    assert finish(row).state == "done"


def test_all_of_an_organization_goes_with_its_sums_also_when_it_is_deleted(seeded, stranger, look):
    ours = Organization.objects.get(pk=seeded.pk)
    delete_organization(seeded, stranger.user.pk)
    assert not Organization.objects.filter(pk=seeded.pk).exists()
    row = finish(TraceDeletion.objects.get())
    assert (row.state, row.organization_name, row.requested_by_id) == ("running", "ours", stranger.user.pk)
    tables = ("llm_traces", "llm_payloads", "llm_usage_daily", "llm_usage_hourly")
    assert [rows_of(look, t, ours) for t in tables] == [0, 0, 0, 0]
    assert look("SELECT sum(calls) FROM llm_usage_daily") == [(3,)]  # the stranger's
    TraceDeletion.objects.update(cut_off=now())  # ten minutes later
    row = finish(row)
    assert (row.state, row.receipt["sums"]) == ("done", "deleted")
    assert row.receipt["rows_deleted"]["clickhouse.llm_usage_daily"] > 0


def test_a_preview_counts_and_deletes_nothing(seeded, look):
    asked = Request(organization_id=seeded.pk, scope="identity", target_id="identity-2")
    assert preview(asked) == [
        ("clickhouse", "llm_payloads", 6),
        ("clickhouse", "llm_traces", 6),
        ("postgres", "stored_trace", 6),
    ]
    assert rows_of(look, "llm_traces", seeded) == 12


def test_what_makes_no_sense_or_is_under_way_is_refused(tenant):
    org = tenant.organization.pk
    for wrong in (
        Request(organization_id=org, scope="agent"),
        Request(organization_id=org, scope="organization", target_id="agent-1"),
        Request(organization_id=org, scope="planet", target_id="x"),
        Request(organization_id="org-00000000-0000-4000-8000-000000000000", scope="organization"),
    ):
        with pytest.raises(Invalid):
            request_deletion(wrong)
    request_deletion(Request(organization_id=org, scope="agent", target_id="agent-1"))
    with pytest.raises(Conflict):
        request_deletion(Request(organization_id=org, scope="agent", target_id="agent-1"))


def test_the_command_counts_first_and_prints_the_receipt(seeded, look):
    out = io.StringIO()
    call_command("delete_traces", seeded.pk, "--agent", "agent-1", stdout=out)
    assert "clickhouse.llm_traces: 6 rows" in out.getvalue()
    assert rows_of(look, "llm_traces", seeded) == 12
    out = io.StringIO()
    call_command("delete_traces", seeded.pk, "--agent", "agent-1", "--yes", "--reason", "asked", stdout=out)
    said = json.loads(out.getvalue().partition("\n")[2])
    assert said["sha256"] == hashlib.sha256(canonical(said["receipt"])).hexdigest()
    assert rows_of(look, "llm_traces", seeded) == 6
