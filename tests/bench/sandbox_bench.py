"""How long a call of a tool takes in the sandbox: from the pool, in an environment of its own, and twenty at once."""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from agents.sandbox.base import Call
from agents.sandbox.local import LocalSandbox, Policy
from tests.bench.measures import Figure

AT_ONCE = 20
REFILL_S = 0.15
PYTHON = Call(source="def tool(a: int):\n    return a + 1", args={"a": 41})
TYPESCRIPT = Call(source="export function tool(): number { return 42 }", language="typescript")
PACKAGED = replace(PYTHON, source="import idna\ndef tool(a: int):\n    return a + 1", requirements=("idna",))


def sandbox(times: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder:
        pooled, fresh = LocalSandbox(Policy(Path(folder))), LocalSandbox(Policy(Path(folder), pool=0))
        try:
            return [
                Figure("tool call from the pool", "ms", _median(pooled, PYTHON, times, REFILL_S), 20, None),
                Figure(
                    "tool call with packages, from the pool", "ms", _median(pooled, PACKAGED, times, REFILL_S), 20, None
                ),
                Figure("tool call with packages, installed", "ms", _median(fresh, PACKAGED, times, 0), 150, None),
                Figure(
                    "tool call in TypeScript, from the pool",
                    "ms",
                    _median(pooled, TYPESCRIPT, times, REFILL_S),
                    20,
                    None,
                ),
                Figure(f"{AT_ONCE} tool calls at once, all of them", "ms", _all_at_once(pooled), 150 * AT_ONCE, None),
            ]
        finally:
            pooled.close()
            fresh.close()


def _median(sandbox: LocalSandbox, call: Call, times: int, pause_s: float) -> float:
    _ms(sandbox, call)  # it installs what is asked for
    taken = []
    for _ in range(times):
        time.sleep(pause_s)
        taken.append(_ms(sandbox, call))
    return statistics.median(taken)


def _ms(sandbox: LocalSandbox, call: Call) -> float:
    began = time.perf_counter()
    outcome = sandbox.run(call)
    assert outcome.value == 42, outcome
    return (time.perf_counter() - began) * 1000


def _all_at_once(sandbox: LocalSandbox) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: _ms(sandbox, PYTHON), range(AT_ONCE)))
    return (time.perf_counter() - began) * 1000
