"""The process-wide spool, and the settings it is made from."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest

from telemetry import checks, segments

ROOT = Path(__file__).resolve().parents[2]


def test_a_process_that_ends_hands_its_calls_over_without_being_asked(tmp_path):
    program = """
        import uuid, django
        from datetime import datetime, UTC
        django.setup()
        from telemetry.recorder import recorder
        from telemetry.trace import CallEnd, CallStart
        start = CallStart(id=str(uuid.uuid4()), organization_id="org-1", call_type="agent_step", provider="openai",
            model="m", created_at=datetime.now(UTC), request_json=b"{}")
        assert recorder() is recorder()
        recorder().begin(start).finish(CallEnd())
    """
    env = {
        "PATH": os.defpath,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATA_DIR": str(tmp_path),
        "TELEMETRY_SPOOL_DIR": str(tmp_path / "spool"),
    }
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=env, check=True)
    [path] = segments.listed(tmp_path / "spool", segments.SEALED)
    assert [r.is_end for r in segments.records(path.read_bytes())] == [False, True]
    assert not segments.listed(tmp_path / "spool", segments.OPEN)
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


def test_a_spool_that_cannot_be_written_is_found_before_the_first_call(settings, tmp_path):
    settings.TELEMETRY_SPOOL_DIR = tmp_path / "new" / "spool"
    assert checks.check_spool(None) == []
    (tmp_path / "file").touch()
    settings.TELEMETRY_SPOOL_DIR = tmp_path / "file" / "spool"
    [problem] = checks.check_spool(None)
    assert problem.id == "telemetry.E001"
    assert "TELEMETRY_SPOOL_DIR" in problem.hint


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("clickhouse://u:p@host:9000/db", []),
        ("clickhouses://u:p@host/db", []),
        ("", ["telemetry.W001"]),
        ("http://host:8123", ["telemetry.E002"]),
        ("host:9000", ["telemetry.E002"]),
        ("clickhouse://u:p@host:port/db", ["telemetry.E002"]),
    ],
)
def test_an_address_that_is_not_clickhouses_is_found(settings, url, found):
    settings.CLICKHOUSE_URL = url
    assert [problem.id for problem in checks.check_clickhouse_url(None)] == found


def test_payloads_kept_longer_than_their_traces_are_found(settings):
    settings.TRACE_RETENTION_DAYS, settings.PAYLOAD_RETENTION_DAYS = 30, 31
    assert [problem.id for problem in checks.check_retention(None)] == ["telemetry.W002"]
    settings.PAYLOAD_RETENTION_DAYS = 30
    assert checks.check_retention(None) == []


def test_the_files_for_an_own_clickhouse_can_be_read():
    found = list((ROOT / "deploy" / "clickhouse").glob("*.xml"))
    assert found
    assert {ElementTree.parse(path).getroot().tag for path in found} == {"clickhouse"}
