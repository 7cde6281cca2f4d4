"""`python tests/bench/analytics_bench.py`: what the dashboards ask, over ten million rows, on a ClickHouse of its own.

    nice -n 10 python tests/bench/analytics_bench.py [--rows 10000000] [--times 20] [--data-dir DIR] [--only usage]

The rows are made on the server, once for a data directory, and go through the roll-ups as shipped rows do. Every query
is asked through the functions that the pages and the API call; p50 and p95 in ms are printed with what p95 may be.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

ROWS_AT_ONCE = 1_000_000
END = datetime(2026, 10, 30, tzinfo=UTC)
BIG, SMALL, EVERYONE = "org-0", "org-30", None
ONE_MAY, ALL_MAY = 150, 400


def main() -> None:
    options = _options()
    from stack.clickhouse import ClickHouse

    server = ClickHouse(options.data_dir / "clickhouse", options.data_dir)
    url = server.start()
    try:
        _measure_all(url, options)
    finally:
        server.stop()


def _measure_all(url: str, options: argparse.Namespace) -> None:
    import django

    django.setup()
    from django.conf import settings

    from telemetry.client import pool

    settings.CLICKHOUSE_URL = url
    load(url, options.rows)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.rows:,} rows; ms", flush=True)
    for name, may, ask in questions():
        if options.only in name:
            p50, p95 = measure(ask, options.times)
            print(
                f"{name:<58} p50 {p50:7.1f}  p95 {p95:7.1f}  may {may}{'' if p95 <= may else '   TOO SLOW'}", flush=True
            )
    pool().close()


def load(url: str, rows: int) -> None:
    """Add what is missing up to `rows`."""
    from telemetry.client import connect
    from telemetry.migrate import Retention, migrate

    migrate(url, Retention(trace_days=10_000, payload_days=10_000))
    client = connect(url, send_receive_timeout=600)
    [(there,)] = client.execute("SELECT count() FROM llm_traces")
    sql = Path(__file__).with_name("million_rows.sql").read_text()
    began = time.perf_counter()
    for first in range(there, rows, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, rows - first)
        client.execute(sql.replace("{first}", str(first)).replace("{count}", str(count)))
        print(f"{first + count:,} rows, {(first + count - there) / (time.perf_counter() - began):,.0f}/s", flush=True)
    client.disconnect()


def measure(ask: Callable[[], Any], times: int) -> tuple[float, float]:
    spans = []
    for _ in range(times + 1):
        began = time.perf_counter()
        ask()
        spans.append(1000 * (time.perf_counter() - began))
    spans = sorted(spans[1:])  # the first one reads the disk
    return spans[len(spans) // 2], spans[min(len(spans) - 1, int(len(spans) * 0.95))]


def questions() -> list[tuple[str, int, Callable[[], Any]]]:
    """What the pages ask: by organization and for the whole installation, over 90 days from a midnight until now, which
    is the end of an hour; and some of it between odd minutes."""
    from telemetry.analytics import Question, latency, usage
    from telemetry.calls import Wanted, list_calls

    end, odd = END - timedelta(hours=9), timedelta(minutes=23)
    found: list[tuple[str, int, Callable[[], Any]]] = []

    def add(what: str, who: str | None, ask: Callable[[], Any]) -> None:
        label = {BIG: "big org", SMALL: "small org", EVERYONE: "everyone"}[who]
        found.append((f"{label}: {what}", ALL_MAY if who is EVERYONE else ONE_MAY, ask))

    def figure(kind: Callable[[Question], Any], who: str | None, *by: str, **rest: Any) -> None:
        days = rest.pop("days", 90)
        shift = rest.pop("shift", timedelta(0))
        start = (end - timedelta(days=days)).replace(hour=0) - shift
        question = Question(who, start, end - shift, by, limit=10, **rest)
        words = [kind.__name__, "by", ", ".join(by) or "nothing", rest.get("interval", ""), rest.get("time_zone", "")]
        words += [f"{days} days" + (", odd minutes" if shift else "")] + [
            f"{k}={v}" for k, v in rest.get("filters", {}).items()
        ]
        add(" ".join(word for word in words if word), who, lambda: kind(question))

    for who in (BIG, EVERYONE):
        for by in ("model", "provider", "organization", "project", "agent", "tag", "api_key", "provider_key"):
            figure(usage, who, by, interval="day")
        for by in ("end_user", "call_type", "is_byok", "error_type"):
            figure(usage, who, by, interval="day")
        figure(usage, who, "model", interval="day", shift=odd)
        figure(usage, who, "agent", interval="day", shift=odd)
        figure(latency, who, "model", interval="day", shift=odd)
        figure(usage, who, "model", "agent")
        figure(usage, who, "agent", "api_key")
        figure(usage, who, "tag", "end_user", interval="day")
        figure(usage, who, "agent", "end_user", interval="day")
        figure(usage, who, "model", interval="day", time_zone="Europe/Berlin")
        figure(usage, who, "agent", interval="day", time_zone="Europe/Berlin")
        figure(usage, who, "agent", interval="hour", days=7)
        figure(usage, who, "provider", "model", filters={"price_source": "unpriced", "is_error": "false"})
        figure(usage, who, "model", interval="day", filters={"api_key": "key-0-1"})
        for by in ("", "model", "agent", "api_key"):
            figure(latency, who, *([by] if by else []), interval="day")
        figure(latency, who)
        figure(latency, who, "model", "provider_key")
        figure(latency, who, "model", interval="hour", days=1)
        for name, wanted in searches(who, end).items():
            add(f"list of calls {name}", who, lambda wanted=wanted: list_calls(Wanted(**wanted)))
    figure(usage, SMALL, "agent", interval="day")
    figure(latency, SMALL, "model", interval="day")
    return found


def searches(who: str | None, end: datetime) -> dict[str, dict[str, Any]]:
    common = {"organization_id": who, "start": end - timedelta(days=90), "end": end}
    filters = {
        "without filters": {},
        "of a model": {"model": ["llama-3.3-70b"]},
        "of an agent that is none": {"agent": ["agent-none"]},
        "of a tag and a kind of error": {"tag": ["sales"], "error_type": ["Refused"]},
        "failed on own keys": {"is_error": ["true"], "is_byok": ["true"]},
        "of an end user": {"end_user": ["identity-12-1"]},
        "of an API key that is none": {"api_key": ["key-none"]},
    }
    return {name: common | {"filters": wanted} for name, wanted in filters.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--data-dir", type=Path, default=Path("/tmp/perennial-analytics-bench"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
