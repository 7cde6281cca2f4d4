"""What telemetry costs: a call on the request path, and rows a second from the spool to ClickHouse.

`measure_recording()`, `measure_masking()` and `measure_shipping(url)` return figures; run as a program it starts its own
ClickHouse and prints them, with a bare `os.write` of the same bytes beside them.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from telemetry.spool import Limits, Spool
from telemetry.trace import CallEnd, CallStart

RESPONSE = {20_000: 2_000, 1_000: 300}


@dataclass(frozen=True)
class Recording:
    """Microseconds for one call of `size` bytes; `write_us`: os.write of as many bytes, alone."""

    size: int
    p50_us: float
    p95_us: float
    p99_us: float
    write_us: float

    @property
    def ratio(self) -> float:
        return self.p50_us / self.write_us


@dataclass(frozen=True)
class Masking:
    """Microseconds of the calling thread's own time for `begin` and `finish` of one call with new content."""

    found: int  # things to mask in it
    p50_us: float
    p95_us: float


@dataclass(frozen=True)
class Shipping:
    size: int
    rows: int
    rows_per_s: float


def measure_recording(size: int = 20_000, calls: int = 4_000) -> Recording:
    """begin + finish, with pauses between, so that the sync to disk behind is part of it."""
    with tempfile.TemporaryDirectory() as directory:
        spool = Spool(Path(directory) / "spool")
        texts = _texts(size)
        spans = []
        for number in range(calls):
            start, end = _call(number, texts)
            began = time.perf_counter()
            spool.begin(start).finish(end)
            spans.append(time.perf_counter() - began)
            time.sleep(0.0003)
        spool.close()
        spans.sort()
        bare = _bare_write(Path(directory) / "bare", size + RESPONSE[size], calls)
    p50, p95, p99 = (1e6 * spans[int(calls * share)] for share in (0.5, 0.95, 0.99))
    return Recording(size, p50, p95, p99, bare)


def measure_masking(found: int, calls: int = 500) -> Masking:
    """Requests of 20 KB, no text of which was seen before: prose, tools, calls and their results in JSON."""
    from django.test import override_settings

    from telemetry.masking import scan
    from telemetry.recorder import Recorder

    scan.problem()  # compile before, as after a process's first call
    with tempfile.TemporaryDirectory() as directory, override_settings(TRACE_CONTENT="masked", TRACE_ANALYZER=""):
        spool, spans = Recorder(Path(directory) / "spool"), []
        answer = _texts(20_000)[0][1]
        for number, request in enumerate([new_request(number, found) for number in range(calls)]):
            start, end = _call(number, [(request, answer)])
            began = time.thread_time()
            spool.begin(start).finish(end)
            spans.append(time.thread_time() - began)
            time.sleep(0.0003)
        spool.close()
    spans.sort()
    return Masking(found, *(1e6 * spans[int(calls * share)] for share in (0.5, 0.95)))


def measure_shipping(url: str, size: int = 20_000, rows: int = 6_000) -> Shipping:
    """From sealed segments to rows in all four tables of a migrated database."""
    from telemetry.backends.clickhouse import ClickHouse
    from telemetry.shipper import Shipper, collect_rarely

    collect_rarely()  # as the shipper's process does
    with tempfile.TemporaryDirectory() as directory:
        spool = Spool(Path(directory), Limits(segment_age_s=60))
        texts = _texts(size)
        for number in range(rows):
            start, end = _call(number, texts)
            spool.begin(start).finish(end)
        spool.close()
        shipper = Shipper(Path(directory), [ClickHouse(url)])
        began = time.perf_counter()
        shipper.drain()
        return Shipping(size, rows, rows / (time.perf_counter() - began))


def report(url: str, say: Callable[[str], None] = print) -> None:
    for size in RESPONSE:
        found = measure_recording(size)
        say(
            f"record one call of {size // 1000:>2} KB: p50 {found.p50_us:.0f} µs, p95 {found.p95_us:.0f}, "
            f"p99 {found.p99_us:.0f}; {found.ratio:.1f} x a bare os.write ({found.write_us:.0f} µs)"
        )
    for findings in (0, 1, 5, 20):
        masked = measure_masking(findings)
        say(
            f"mask and record 20 new KB with {findings:>2} findings: p50 {masked.p50_us:.0f} µs, p95 {masked.p95_us:.0f}"
        )
    for size, rows in ((20_000, 6_000), (1_000, 60_000)):
        shipped = measure_shipping(url, size, rows)
        say(f"ship calls of {size // 1000:>2} KB: {shipped.rows_per_s:,.0f} rows/s")


def _bare_write(path: Path, size: int, calls: int) -> float:
    data, spans = b"x" * size, []
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for _ in range(calls):
        began = time.perf_counter()
        os.write(fd, data)
        spans.append(time.perf_counter() - began)
        time.sleep(0.0003)
    os.close(fd)
    return 1e6 * sorted(spans)[calls // 2]


def _texts(size: int) -> list[tuple[bytes, bytes]]:
    chance = random.Random(size)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(3000)]

    def text(length: int) -> bytes:
        return (" ".join(chance.choices(words, k=length // 4)) + " " * length).encode()[:length]

    return [(text(size), text(RESPONSE[size])) for _ in range(50)]


FINDINGS = (
    "bob@example.com",
    "+49 30 1234567",
    "4111 1111 1111 1111",
    "203.0.113.7",
    "DE89 3704 0044 0532 0130 00",
    "sk-proj-Abcd1234Efgh5678Ijkl9999",
    "(415) 555-2671",
)


def new_request(seed: int, found: int, size: int = 20_000) -> bytes:
    """A request of about `size` bytes with numbers, dates, ids and JSON within JSON, and so many things to mask."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(500)]

    def prose(length: int) -> str:
        said = [*chance.choices(words, k=length // 6), str(chance.randint(0, 3000)), "2026-11-24T12:30:45Z,", "\n\n"]
        chance.shuffle(said)
        return " ".join(said)

    def row() -> dict[str, object]:
        return {"id": chance.randint(1, 10**9), "at": "2026-11-24 12:30:45", "name": prose(30), "price": 17.25}

    messages: list[dict[str, object]] = [{"role": "system", "content": prose(size // 3)}]
    while len(orjson.dumps(messages)) < size:
        arguments = orjson.dumps({"query": prose(50), "run_id": f"run-{uuid.UUID(int=chance.getrandbits(128))}"})
        call = {"id": f"call_{chance.getrandbits(80):x}", "function": {"name": "look", "arguments": arguments.decode()}}
        messages += [
            {"role": "user", "content": prose(400)},
            {"role": "assistant", "content": prose(300), "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": orjson.dumps([row() for _ in range(6)]).decode()},
        ]
    for number in range(found):
        message = chance.choice(messages[1::3] + messages[2::3])
        message["content"] = f"{message['content']} {FINDINGS[(seed + number) % len(FINDINGS)]} {prose(40)}"
    return orjson.dumps({"model": "gpt", "messages": messages})


def _call(number: int, texts: list[tuple[bytes, bytes]]) -> tuple[CallStart, CallEnd]:
    request, response = texts[number % len(texts)]
    start = CallStart(
        id=str(uuid.uuid4()),
        organization_id=f"org-{number % 7}",
        call_type="agent_step",
        provider="openai",
        provider_name="openai",
        model=f"gpt-{number % 5}",
        created_at=datetime.now(UTC),
        request_json=request,
        agent_id=f"agent-{number % 100}",
        agent_tags=("bench",),
        conversation_id=f"conv-{number % 300}",
        run_id=f"run-{uuid.uuid4()}",
        step_id=f"step-{uuid.uuid4()}",
        trace_id=uuid.uuid4().hex,
        llm_config={"model": "gpt", "context_window": 128_000, "model_endpoint_type": "openai"},
    )
    end = CallEnd(
        response_json=response,
        input_tokens=5_000,
        cache_read_tokens=1_000,
        output_tokens=300,
        cost_usd=Decimal("0.0123"),
        price_source="genai-prices",
        latency_ms=1_500,
        ttft_ms=300,
        finish_reason="stop",
    )
    return start, end


def main() -> None:
    import django

    django.setup()
    from stack.clickhouse import ClickHouse as Server
    from telemetry.migrate import Retention, migrate

    with tempfile.TemporaryDirectory() as directory:
        part = Server(Path(directory) / "clickhouse", Path(directory), throwaway=True)
        try:
            url = part.start()
            migrate(url, Retention())
            report(url)
        finally:
            part.stop()


if __name__ == "__main__":
    main()
