"""`make bench`: a whole installation on this machine, measured beside the mock vendor called directly.

    python tests/bench/run.py [--only messages,reading] [--times 60] [--servers]

Every figure is printed with what it may be and what the retired server needed; nothing is asserted. Run it on a quiet
machine: everything, the client included, shares the same cores.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from tests.bench.measures import Bench, Figure  # noqa: E402
from tests.bench.sandbox_bench import sandbox  # noqa: E402
from tests.support.live import Live, get_json, wait_for  # noqa: E402
from tests.support.parts import start_test_parts  # noqa: E402

PARTS = ("ready", "messages", "streaming", "throughput", "reading", "flatness", "sandbox")


def main() -> None:
    options = _options()
    parts = start_test_parts("bench", uuid.uuid4().hex)
    live = Live(parts, "bench")
    try:
        live.start()
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; all figures are medians", flush=True)
        if options.servers:
            _compare_servers(live, options.times)
            return
        for part in options.only.split(","):
            for figure in _measure(part, live, options.times):
                show(figure)
    finally:
        live.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--times", type=int, default=60)
    parser.add_argument("--servers", action="store_true", help="compare uvicorn with daphne instead")
    return parser.parse_args()


def _measure(part: str, live: Live, times: int) -> list[Figure]:
    bench = Bench(live.url, live.key, live.mock_url)
    if part == "ready":
        return [Figure("web ready", "s", _restart_web(live), 3, 16)]
    if part == "sandbox":
        return sandbox(times)
    if part == "throughput":
        return bench.throughput(times / 6)
    measured: list[Figure] = getattr(bench, part)(times)
    return measured


def _restart_web(live: Live) -> float:
    """Seconds from the start of the web process to its first answer."""
    live.children["web"].stop(5)
    began = time.perf_counter()
    live.start_service("web")
    wait_for(lambda: get_json(f"{live.url}/v1/health/"), every=0.01)
    return time.perf_counter() - began


def _compare_servers(live: Live, times: int) -> None:
    for server in ("uvicorn", "daphne"):
        live.extra_environment["WEB_SERVER"] = server
        print(f"\n{server}: web ready in {_restart_web(live):.2f} s")
        for part in ("messages", "streaming", "throughput", "reading"):
            for figure in _measure(part, live, times):
                show(figure)


def show(figure: Figure) -> None:
    mark = "met" if figure.met else "MISSED"
    was = ""
    if figure.retired is not None:
        ratio = figure.value / figure.retired if figure.more_is_better else figure.retired / max(figure.value, 1e-9)
        was = f"   retired server {figure.retired:g} ({ratio:.1f} x)"
    sign = ">=" if figure.more_is_better else "<="
    told = f"{figure.value:9.2f} {figure.unit:<11} wanted {sign} {figure.wanted:g}  {mark}{was}"
    print(f"{figure.name:54}{told}   {figure.baseline}", flush=True)


if __name__ == "__main__":
    main()
