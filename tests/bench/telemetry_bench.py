"""What telemetry costs: a call on the request path, and rows a second from the spool to ClickHouse.

`measure_recording()` and `measure_shipping(url)` return figures; run as a program it starts its own ClickHouse and
prints them, with a bare `os.write` of the same bytes beside them.
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
