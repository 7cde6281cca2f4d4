"""An export is a whole file of the organization's calls in the wanted format, made by whichever worker lives."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pyarrow import parquet

from accounts.models import AuditEntry
from core.errors import Conflict, LimitExceeded
from core.time import now
from telemetry.exports import actions, run
from telemetry.filters import TraceFilters
from telemetry.models.export import Export, ExportState
from tests.support.seed import Seeded

pytestmark = pytest.mark.usefixtures("clickhouse")
NOWHERE = "clickhouse://127.0.0.1:9/none"


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rings, instead of a broker."""
    found: list[str] = []
    monkeypatch.setattr(actions, "ring", found.append)
    return found


@pytest.fixture(autouse=True)
def _kept_here(settings: Any, tmp_path: Path, rung: list[str], foreign: Seeded) -> None:
    settings.EXPORTS_DIR = tmp_path
    where = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "exports": where}


def asked(world: Seeded, **wanted: Any) -> Export:
    form = {"format": "jsonl", **wanted}
    return actions.request_export(str(world.organization.pk), str(world.owner.pk), actions.Wanted(**form))


def made(world: Seeded, **wanted: Any) -> tuple[Export, bytes]:
    export = asked(world, **wanted)
    run.run(str(export.pk))
    export.refresh_from_db()
    assert export.state == ExportState.DONE, export.error
    with actions.opened(export) as file:
        return export, file.read()


def read(form: str, content: bytes) -> list[dict[str, Any]]:
    if form == "csv":
        return list(csv.DictReader(io.StringIO(content.decode())))
    if form == "jsonl":
        return [json.loads(line) for line in content.splitlines()]
    rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(content)).to_pylist()
    return rows


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_every_format_holds_the_organizations_calls_to_the_last_digit(
    world: Seeded, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PAGE_WITH_PAYLOADS", 2)
    export, content = made(world, format=form, with_payloads=True)
    rows = read(form, content)
    assert sorted(row["id"] for row in rows) == sorted(world.trace_ids)
    assert (export.rows, export.progress, export.size_bytes) == (len(rows), 100, len(content))
    cost = sum(Decimal(row["cost_usd"]) for row in rows if row["cost_usd"] not in (None, ""))
    assert cost == sum(step.cost_usd for step in world.steps if step.cost_usd is not None)
    said = [row["request_json"] for row in rows]
    assert all(isinstance(text, dict) if form == "jsonl" else json.loads(text) for text in said)
    deed = AuditEntry.objects.get(organization=world.organization, action="traces.export")
    assert (deed.target, deed.after["format"]) == (str(export.pk), form)


def test_filters_narrow_and_payloads_stay_out_unless_asked_for(world: Seeded) -> None:
    _, content = made(world, filters=TraceFilters(model="gpt-5-mini"))
    rows = read("jsonl", content)
    assert sorted(row["id"] for row in rows) == sorted(s.trace_call_id for s in world.steps if s.model == "gpt-5-mini")
    assert "request_json" not in rows[0]
    _, nothing = made(world, format="parquet", filters=TraceFilters(model="no-such"))
    assert read("parquet", nothing) == []


def test_a_worker_that_died_is_replaced_and_writes_nothing_more(world: Seeded, rung: list[str]) -> None:
    export = asked(world)
    dead = run._claim(str(export.pk))
    assert dead is not None
    run.run(str(export.pk))  # still leased: nothing happens
    assert Export.objects.get(pk=export.pk).state == ExportState.RUNNING
    Export.objects.filter(pk=export.pk).update(lease_until=now() - timedelta(seconds=1))
    rung.clear()
    assert run.sweep() == 1
    assert rung == [str(export.pk)]
    run.run(str(export.pk))
    done = Export.objects.get(pk=export.pk)
    assert (done.state, done.attempt) == (ExportState.DONE, 2)
    with pytest.raises(run.Overtaken):
        run._make(dead)
    assert Export.objects.get(pk=export.pk).file == done.file
    assert run.sweep() == 0


def test_with_clickhouse_away_it_waits_and_says_so(world: Seeded, settings: Any) -> None:
    export, there = asked(world), settings.CLICKHOUSE_URL
    settings.CLICKHOUSE_URL = NOWHERE
    run.run(str(export.pk))
    waiting = Export.objects.get(pk=export.pk)
    assert (waiting.state, waiting.attempt) == (ExportState.QUEUED, 0)
    assert "ClickHouse" in waiting.error
    settings.CLICKHOUSE_URL = there
    Export.objects.filter(pk=export.pk).update(lease_until=now() - timedelta(seconds=1))
    run.run(str(export.pk))
    assert Export.objects.get(pk=export.pk).state == ExportState.DONE


def test_cancelled_removed_and_old_ones_leave_no_file(world: Seeded, tmp_path: Path, settings: Any) -> None:
    cancelled = asked(world)
    actions.cancel(cancelled)
    run.run(str(cancelled.pk))
    cancelled.refresh_from_db()
    assert cancelled.state == ExportState.CANCELLED
    with pytest.raises(Conflict, match="ended already"):
        actions.cancel(cancelled)
    with pytest.raises(Conflict, match="cancelled"):
        actions.opened(cancelled)
    kept, _ = made(world)
    old, _ = made(world)
    long_ago = now() - timedelta(days=settings.EXPORT_DAYS, minutes=1)
    Export.objects.filter(pk=old.pk).update(created_at=long_ago)
    assert actions.prune() == 1
    assert [path.name for path in tmp_path.iterdir()] == [kept.file]


def test_no_more_than_three_are_made_at_once(world: Seeded) -> None:
    for _ in range(actions.MOST_AT_ONCE):
        asked(world)
    with pytest.raises(LimitExceeded, match="wait for one"):
        asked(world)


def test_by_api_one_is_asked_for_followed_fetched_and_nobody_elses(world: Seeded, foreign: Seeded) -> None:
    client = Client()
    bearer = {"Authorization": f"Bearer {world.secret}"}
    refused = client.post("/api/exports", {"format": "xml"}, "application/json", headers=bearer)
    assert (refused.status_code, "csv, jsonl, parquet" in refused.json()["detail"]) == (422, True)
    body = {"format": "jsonl", "model": "gpt-5-mini"}
    sent = client.post("/api/exports", body, "application/json", headers=bearer)
    assert (sent.status_code, sent.json()["state"]) == (202, "queued")
    address = f"/api/exports/{sent.json()['id']}"
    assert client.get(f"{address}/file", headers=bearer).status_code == 409
    run.run(sent.json()["id"])
    assert client.get(address, headers=bearer).json()["progress"] == 100
    file = client.get(f"{address}/file", headers=bearer)
    assert len(b"".join(file.streaming_content).splitlines()) == client.get(address, headers=bearer).json()["rows"]
    stranger = {"Authorization": f"Bearer {foreign.secret}"}
    for path in (address, f"{address}/file"):
        assert client.get(path, headers=stranger).status_code == 404
    assert client.get("/api/exports", headers=stranger).json()["items"] == []
    assert client.delete(address, headers=bearer).status_code == 204
    assert client.get("/api/exports", headers=bearer).json()["items"] == []


def test_in_the_admin_one_is_asked_for_and_fetched(world: Seeded, browser: Any) -> None:
    viewer = browser("viewer")
    page = viewer.get("/admin/telemetry/export/add/?model=gpt-5-mini&format=csv").content.decode()
    assert 'value="gpt-5-mini"' in page
    form = {"organization": str(world.organization.pk), "format": "csv", "model": "gpt-5-mini"}
    sent = viewer.post("/admin/telemetry/export/add/", form)
    assert sent.status_code == 302
    waiting = viewer.get(sent.headers["Location"])
    assert ("Waiting for a worker" in waiting.content.decode(), waiting.headers["Refresh"]) == (True, "2")
    export = Export.objects.get()
    run.run(str(export.pk))
    assert "Download" in viewer.get(sent.headers["Location"]).content.decode()
    file = viewer.get(f"/admin/telemetry/export/{export.pk}/file/")
    assert b"".join(file.streaming_content).startswith(b"id,organization_id,")
