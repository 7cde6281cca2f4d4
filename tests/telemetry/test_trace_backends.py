"""One contract for every trace back end, and what is particular to each."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from pydantic import SecretStr

from config.management.commands.doctor import trace_backends
from core.time import now
from telemetry import reading, segments
from telemetry.backends import base, postgres
from telemetry.backends.base import ReadableBackend, TraceBackend
from telemetry.backends.clickhouse import ClickHouse
from telemetry.backends.otlp import Otlp
from telemetry.backends.postgres import Postgres
from telemetry.backends.unix_socket import UnixSocket
from telemetry.batches import Away, Batch, Refused, entry
from telemetry.client import TelemetryUnavailable, pool
from telemetry.models import StoredTrace
from telemetry.spool import Limits, Spool
from tests.support.trace_readers import Collector, SocketReader

RUN_TRACE = "0af7651916cd43dd8448eb211c80319c"
REQUEST, RESPONSE = b'{"messages": [{"role": "user"}]}', b'{"ok": true}'


@dataclass(frozen=True)
class End:
    """A back end and a look at what arrived there, once so many calls have: their ids, once for each time."""

    backend: TraceBackend
    held: Callable[[int], list[str]]


@pytest.fixture
def reader(tmp_path: Path, settings: Any) -> Iterator[SocketReader]:
    settings.TELEMETRY_SOCKET = tmp_path / "reader.sock"
    started = SocketReader(settings.TELEMETRY_SOCKET).start()
    yield started
    started.stop()


@pytest.fixture
def collector(settings: Any) -> Iterator[Collector]:
    started = Collector()
    settings.OTLP_ENDPOINT, settings.OTLP_HEADERS = started.url, SecretStr("x-key=s%2Cecret")
    yield started
    started.stop()


@pytest.fixture(params=["clickhouse", "postgres", "socket", "otlp"])
def end(request: Any, settings: Any) -> Iterator[End]:
    settings.PROVIDER_TRACE_BACKENDS = [request.param]
    made = ENDS[request.param](request)
    yield made
    made.backend.close()


def _clickhouse(request: Any) -> End:
    request.getfixturevalue("settings").CLICKHOUSE_URL = request.getfixturevalue("traces_url")
    client = request.getfixturevalue("traces")
    request.addfinalizer(lambda: pool().close())
    return End(ClickHouse(), lambda count: [i for (i,) in client.execute("SELECT id FROM llm_traces")])


def _postgres(request: Any) -> End:
    request.getfixturevalue("db")
    return End(Postgres(), lambda count: list(StoredTrace.objects.values_list("pk", flat=True)))


def _socket(request: Any) -> End:
    found = request.getfixturevalue("reader")

    def held(count: int) -> list[str]:
        return [said["provider_trace_id"].removeprefix("provider_trace-") for said in found.wait(count)]

    return End(UnixSocket(), held)


def _otlp(request: Any) -> End:
    found = request.getfixturevalue("collector")
    return End(Otlp(), lambda count: [span["attributes"]["perennial.id"] for span in found.spans])


ENDS = {"clickhouse": _clickhouse, "postgres": _postgres, "socket": _socket, "otlp": _otlp}


@pytest.fixture
def batch_of(tmp_path: Path, record: Any) -> Callable[..., Batch]:
    """Calls as the shipper reads them out of a segment."""

    def make(*calls: dict[str, Any]) -> Batch:
        spool = Spool(tmp_path / str(uuid4()), Limits(segment_age_s=60))
        for call in calls:
            record(spool, **{"request_json": REQUEST, "end": {"response_json": RESPONSE}, **call})
        spool.close()
        [path] = segments.listed(spool.directory, segments.SEALED)
        found = [r for r in segments.records(path.read_bytes()) if r.is_end]
        return Batch(path.stem, [entry(r) for r in found])

    return make


def ids(batch: Batch) -> list[str]:
    return [e.named()["id"] for e in batch.entries]


def test_every_call_of_a_batch_arrives(end: End, batch_of: Any) -> None:
    batch = batch_of({}, {"run_id": "run-1"}, {"end": {"error_type": "Overloaded"}})
    end.backend.write(batch, doubtful=False)
    assert sorted(end.held(3)) == sorted(ids(batch))


def test_a_batch_that_is_sent_again_is_the_same_calls_and_counts_once_where_that_can_be_known(
    end: End, batch_of: Any
) -> None:
    batch = batch_of({}, {})
    end.backend.write(batch, doubtful=False)
    end.backend.close()
    end.backend.write(batch, doubtful=True)
    times = 2 if isinstance(end.backend, ReadableBackend) else 4
    assert sorted(end.held(times)) == sorted(ids(batch) * (times // 2))


def test_what_can_be_read_is_read_by_its_organization_alone(end: End, batch_of: Any) -> None:
    step, run = f"step-{uuid4()}", f"run-{uuid4()}"
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    first = {"run_id": run, "step_id": step, "created_at": at, "end": {"error_type": "Overloaded"}}
    cost = {"response_json": RESPONSE, "cost_usd": Decimal("0.000000037512"), "cache_read_tokens": 4, "input_tokens": 6}
    second = first | {"created_at": at + timedelta(seconds=1), "agent_tags": ("a", "b'c"), "attempt": 2, "end": cost}
    batch = batch_of(first, second, {})
    end.backend.write(batch, doubtful=False)
    if not isinstance(end.backend, ReadableBackend):
        with pytest.raises(TelemetryUnavailable, match="PROVIDER_TRACE_BACKENDS"):
            reading.call_of_step("org-1", step)
        return
    found = reading.call_of_step("org-1", step)
    assert found is not None
    assert (found.row.id, found.row.attempt, list(found.row.agent_tags)) == (ids(batch)[1], 2, ["a", "b'c"])
    assert (found.row.cost_usd, found.row.prompt_tokens, found.row.cache_write_tokens) == (cost["cost_usd"], 10, None)
    assert found.row.created_at == at + timedelta(seconds=1)
    assert (found.request_json, found.response_json, found.llm_config_json) == (
        REQUEST.decode(),
        RESPONSE.decode(),
        "{}",
    )
    assert reading.call("org-1", found.row.id) == found
    assert [row.id for row in reading.calls_of_run("org-1", run)] == ids(batch)[:2]
    assert len(reading.calls_of_run("org-1", run, 1)) == 1
    assert reading.call("org-2", found.row.id) is reading.call_of_step("org-2", step) is None
    assert list(reading.calls_of_run("org-2", run)) == []


def test_it_says_how_it_is(end: End) -> None:
    assert end.backend.probe()
    assert list(end.backend.wrong()) == []


def test_the_setting_makes_each_by_its_name(end: End, settings: Any) -> None:
    [made] = base.configured()
    assert type(made) is type(end.backend)
    assert made.name == settings.PROVIDER_TRACE_BACKENDS[0]
    assert [m for m in run_checks() if m.id and m.id.startswith("telemetry.E01")] == []


# PostgreSQL


def test_postgres_keeps_what_was_said_to_the_byte_and_drops_it_before_the_call(db: None, batch_of: Any) -> None:
    odd = b'{"text":"\xc3\xa9 \\u0000 \xff not utf-8"}'
    old, older = now() - timedelta(days=10), now() - timedelta(days=40)
    nul = {"error_type": "E", "error_message": "a\x00b"}
    batch = batch_of({"request_json": odd}, {"created_at": old, "end": nul}, {"created_at": older})
    Postgres().write(batch, doubtful=False)
    assert zlib.decompress(StoredTrace.objects.get(pk=ids(batch)[0]).request) == odd
    assert StoredTrace.objects.get(pk=ids(batch)[1]).row["error_message"] == "a\ufffdb"
    assert postgres.expire(trace_days=30, payload_days=5) == (1, 1) or postgres.expire(30, 5) == (0, 0)
    kept = Postgres().call("org-1", ids(batch)[1])
    assert kept is not None
    assert kept.request_json == kept.response_json == ""
    assert Postgres().call("org-1", ids(batch)[2]) is None


def test_postgres_refuses_what_it_cannot_store_and_nothing_else(db: None, batch_of: Any) -> None:
    batch = batch_of({}, {"run_id": "r" * 65})
    with pytest.raises(Refused), transaction.atomic():
        Postgres().write(batch, doubtful=False)
    assert not StoredTrace.objects.filter(pk__in=ids(batch)).exists()


def test_postgres_that_answers_with_an_error_of_its_own_is_away(db: None, batch_of: Any) -> None:
    def broken(*_: Any) -> None:
        raise OperationalError("terminating connection due to administrator command")

    with connection.execute_wrapper(broken):
        with pytest.raises(Away, match="administrator"):
            Postgres().write(batch_of({}), doubtful=False)
        with pytest.raises(Away, match="administrator"):
            Postgres().probe()


# The socket


def test_a_line_on_the_socket_is_as_the_protocol_has_it(reader: SocketReader, batch_of: Any) -> None:
    lost = {"end": {"error_type": "Overloaded", "error_message": "529", "response_json": b"<html>\n"}}
    batch = batch_of({"agent_id": "agent-1", "run_id": "run-1", "step_id": "step-1", "agent_tags": ("t",)}, lost)
    backend = UnixSocket()
    backend.write(batch, doubtful=False)
    backend.close()
    whole, failed = reader.wait(2)
    assert whole == {
        "protocol_version": 3,
        "provider_trace_id": f"provider_trace-{ids(batch)[0]}",
        "agent_id": "agent-1",
        "run_id": "run-1",
        "step_id": "step-1",
        "tags": ["t"],
        "type": "agent_step",
        "source": "perennial",
        "request": {"messages": [{"role": "user"}]},
        "response": {"ok": True},
        "error": None,
        "error_type": None,
        "timestamp": "2026-05-01T12:00:00.123000+00:00",
        "org_id": "org-1",
        "user_id": None,
        "compaction_settings": None,
        "llm_config": None,
    }
    assert (failed["error"], failed["error_type"], failed["response"]) == ("529", "Overloaded", {"_raw": "<html>\n"})


def test_a_reader_that_hangs_up_before_it_has_read_all_gets_the_batch_again(
    reader: SocketReader, batch_of: Any
) -> None:
    batch = batch_of(*[{"request_json": b'{"text": "%s"}' % (b"x" * 3000)}] * 20)
    backend = UnixSocket()
    reader.greedy = False
    with pytest.raises(Away):
        backend.write(batch, doubtful=False)
    assert reader.hung_up.wait(10)
    backend.write(batch, doubtful=True)
    backend.close()
    assert [said["provider_trace_id"][15:] for said in reader.wait(len(ids(batch)))] == ids(batch)


# OpenTelemetry


def test_a_span_speaks_the_gen_ai_conventions_and_correlates(
    collector: Collector, settings: Any, batch_of: Any
) -> None:
    answered = {
        "input_tokens": 6,
        "cache_read_tokens": 4,
        "output_tokens": 3,
        "reasoning_tokens": 1,
        "latency_ms": 900,
        "ttft_ms": 80,
        "finish_reason": "stop",
        "cost_usd": Decimal("0.1"),
        "price_source": "own",
    }
    call_id = "c4a760a8-dbcf-5254-a0d9-6a4474bd1b62"
    known = {"id": call_id, "trace_id": RUN_TRACE, "run_id": "run-1", "step_id": "step-1", "provider": "google_ai"}
    failed = {"run_id": "run-2", "call_type": "embedding", "end": {"error_type": "Overloaded", "error_message": "529"}}
    batch = batch_of(known | {"conversation_id": "conv-1", "agent_id": "agent-1", "end": answered}, failed)
    backend = Otlp()
    backend.write(batch, doubtful=False)
    assert collector.headers[0]["x-key"] == "s,ecret"
    span, other = collector.spans
    assert (span["trace_id"], span["span_id"], span["name"]) == (RUN_TRACE, call_id.replace("-", "")[:16], "chat gpt-x")
    assert (span["kind"], span["status"], span["end"] - span["start"]) == (3, 0, 900_000_000)
    told = span["attributes"]
    assert (
        told.items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "gcp.gemini",
            "gen_ai.request.model": "gpt-x",
            "gen_ai.conversation.id": "conv-1",
            "gen_ai.agent.id": "agent-1",
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.usage.cache_read.input_tokens": 4,
            "gen_ai.usage.reasoning.output_tokens": 1,
            "gen_ai.response.time_to_first_chunk": 0.08,
            "perennial.id": call_id,
            "perennial.run_id": "run-1",
            "perennial.step_id": "step-1",
            "perennial.cost_usd": 0.1,
            "perennial.cost_usd_exact": "0.100000000000",
            "perennial.price_source": "own",
        }.items()
    )
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    assert "perennial.request_json" not in told
    assert (other["name"], other["status"], other["attributes"]["error.type"]) == ("embeddings gpt-x", 2, "Overloaded")
    settings.OTLP_CONTENT = True
    backend.write(batch, doubtful=False)
    backend.close()
    assert collector.spans[2]["attributes"]["perennial.request_json"] == REQUEST.decode()


def test_a_collector_that_is_busy_is_asked_later_and_one_that_refuses_the_data_is_not(
    collector: Collector, batch_of: Any, caplog: Any
) -> None:
    batch, backend = batch_of({}), Otlp()
    for status, failure in ((503, Away), (429, Away), (401, Away), (404, Away), (400, Refused), (413, Refused)):
        collector.status = status
        with pytest.raises(failure, match=str(status)):
            backend.write(batch, doubtful=False)
    with pytest.raises(Away, match="413"):
        backend.probe()
    collector.status, collector.reject = 200, 1
    with caplog.at_level(logging.ERROR):
        backend.write(batch, doubtful=True)
    backend.close()
    assert "rejected 1 spans" in caplog.text
    assert "ecret" not in caplog.text


# Settings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"PROVIDER_TRACE_BACKENDS": ["clickhouse", "mongo"]}, "'mongo'"),
        ({"PROVIDER_TRACE_BACKENDS": ["no.such.Place"]}, "no.such.Place"),
        ({"PROVIDER_TRACE_BACKENDS": ["otlp", "otlp"]}, "twice"),
        ({"PROVIDER_TRACE_BACKENDS": []}, "none"),
        ({"PROVIDER_TRACE_BACKENDS": ["pathlib.Path"]}, "pathlib.Path"),
        ({"PROVIDER_TRACE_BACKENDS": ["socket"], "TELEMETRY_SOCKET": Path("run/x.sock")}, "TELEMETRY_SOCKET"),
        ({"PROVIDER_TRACE_BACKENDS": ["otlp"], "OTLP_ENDPOINT": "collector:4317"}, "OTLP_ENDPOINT"),
        ({"PROVIDER_TRACE_BACKENDS": ["otlp"], "OTLP_HEADERS": SecretStr("s3cret")}, "OTLP_HEADERS"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(settings: Any, wrong: dict[str, Any], said: str) -> None:
    for name, value in ({"OTLP_ENDPOINT": "http://c:4318"} | wrong).items():
        setattr(settings, name, value)
    [found] = [m for m in run_checks() if m.id and m.id.startswith("telemetry.E01")]
    assert said in found.msg
    assert "s3cret" not in str(found)
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/none"
    with pytest.raises(CommandError, match=said.strip("'")):
        call_command("shipper")


def test_who_cannot_be_reached_is_away(tmp_path: Path, settings: Any, batch_of: Any) -> None:
    settings.TELEMETRY_SOCKET, settings.OTLP_ENDPOINT = tmp_path / "none.sock", "http://127.0.0.1:9"
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/none"
    for backend in (ClickHouse(), UnixSocket(), Otlp()):
        with pytest.raises(Away):
            backend.write(batch_of({}), doubtful=False)
        with pytest.raises(Away):
            backend.probe()
        backend.close()


def test_doctor_says_how_each_is_and_what_waits_and_no_secret(
    db: None, settings: Any, tmp_path: Path, collector: Collector, record: Any
) -> None:
    settings.PROVIDER_TRACE_BACKENDS = ["postgres", "otlp", "socket"]
    settings.TELEMETRY_SPOOL_DIR, settings.TELEMETRY_SOCKET = tmp_path / "spool", tmp_path / "none.sock"
    spool = Spool(settings.TELEMETRY_SPOOL_DIR, Limits(segment_age_s=60))
    record(spool, request_json=b"x" * (3 << 20))
    spool.close()
    [path] = segments.listed(settings.TELEMETRY_SPOOL_DIR, segments.SEALED)
    segments.mark_of(path, "otlp").touch()
    found = trace_backends()
    assert not found.ok
    assert "postgres answers (3 MB waiting)" in found.detail
    assert "127.0.0.1 takes spans with x-key (values hidden); " in found.detail
    assert "socket takes none: " in found.detail
    assert "ecret" not in found.detail + found.mend
