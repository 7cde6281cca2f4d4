"""TypeScript tools: Node, behind the same walls as Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.sandbox.base import Call, Failure, Limits, Outcome
from agents.sandbox.local import LocalSandbox, Policy

PROJECT = str(Path(__file__).resolve().parents[2])
SOURCE = """
import os from "node:os";
enum Colour { Red = "red" }
interface Given { count: number }
function helper(): string { return os.tmpdir() }
export async function describe(name: string, given: Given, note?: string): Promise<object> {
  console.log(`about ${name}`);
  return { name, more: given.count + 1, note: note ?? null, colour: Colour.Red, env: process.env, tmp: helper() };
}
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSandbox]:
    limits = Limits(wall_s=10, cpu_s=1, memory_mb=128, processes=8)
    found = LocalSandbox(Policy(tmp_path_factory.mktemp("sandbox"), limits, pool=1))
    yield found
    found.close()


def run(sandbox: LocalSandbox, body: str, **more: object) -> Outcome:
    source = f"export async function tool(): Promise<any> {{\n{body}\n}}"
    return sandbox.run(Call(source=source, language="typescript", **more))  # type: ignore[arg-type]  # fields of Call


def test_a_typescript_tool_gets_its_arguments_by_name(sandbox: LocalSandbox) -> None:
    args = {"given": {"count": 1}, "name": "Ada"}
    order = ("name", "given", "note")
    outcome = sandbox.run(Call(source=SOURCE, args=args, order=order, language="typescript", variables={"TOKEN": "t"}))
    assert outcome.failure is None, outcome
    env = outcome.value.pop("env")
    assert outcome.value == {"name": "Ada", "more": 2, "note": None, "colour": "red", "tmp": "/tmp"}
    assert env == {"TOKEN": "t", "HOME": "/tmp", "TMPDIR": "/tmp", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    assert outcome.stdout == "about Ada\n"


@pytest.mark.parametrize(
    ("body", "kind", "word"),
    [
        ("throw new TypeError('no')", "exception", "TypeError: no"),
        ("let x: = 1", "exception", "SyntaxError"),
        (f"return (await import('node:fs')).readFileSync('{PROJECT}/manage.py')", "exception", "ENOENT"),
        ("(await import('node:fs')).writeFileSync('/usr/x', '')", "exception", "read-only"),
        ("return (await fetch('http://169.254.169.254/')).status", "exception", "fetch failed"),
        ("return 1n", "bad_return", "BigInt"),
        ("return 'x'.repeat(5_000_000)", "bad_return", "5000002"),
        ("process.exit(3)", "crashed", "exit code 3"),
        ("while (true) {}", "timeout", ""),
        ("const kept: any[] = []; for (;;) kept.push(Buffer.alloc(1 << 24, 1))", "exception or memory", "memory"),
        ("for (;;) (await import('node:fs')).writeSync(1, 'x'.repeat(100_000))", "output", "printed"),
    ],
)
def test_what_goes_wrong_is_contained_and_told(sandbox: LocalSandbox, body: str, kind: str, word: str) -> None:
    failure = run(sandbox, body).failure
    assert failure is not None
    assert failure.kind in kind.split(), failure
    assert word in failure.message


def test_a_node_that_cannot_read_typescript_is_told_of(tmp_path: Path) -> None:
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v20.1.0\n")
    old.chmod(0o755)
    failure = run(LocalSandbox(Policy(tmp_path, pool=0, node=str(old))), "return 1").failure
    assert isinstance(failure, Failure)
    assert "Node 22.13 or newer" in failure.message
    assert "v20.1.0" in failure.message
