"""What a custom tool gets and gives: arguments, variables, packages, its result and its prints."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from agents.sandbox.base import Call, Isolation, Limits, Packages
from agents.sandbox.local import LocalSandbox, Policy, nowhere
from agents.sandbox.process import Guest, Setup

POLICY = Policy(Path(), Limits(wall_s=20), pool=2)
ADD = "def helper():\n    return 0\n\ndef add(a: int, b: int = 2) -> int:\n    print('adding')\n    return a + b\n"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSandbox]:
    found = LocalSandbox(replace(POLICY, folder=tmp_path_factory.mktemp("sandbox")))
    yield found
    found.close()


def test_the_last_function_is_called_unless_one_is_named(sandbox: LocalSandbox) -> None:
    outcome = sandbox.run(Call(source=ADD, args={"a": 40}))
    assert (outcome.value, outcome.stdout, outcome.failure) == (42, "adding\n", None)
    assert sandbox.run(Call(source=ADD, function="helper")).value == 0
    missing = sandbox.run(Call(source=ADD, function="sub")).failure
    assert missing is not None
    assert "helper, add" in missing.message


def test_prints_neither_disturb_the_result_nor_grow_without_end(sandbox: LocalSandbox) -> None:
    source = (
        "import os, sys\nasync def tool():\n    print('{\"value\": 0}')\n    os.write(2, b'\\xff straight')\n"
        "    sys.stdout.write('y' * 50000)\n    return {'ü': (1, {2})}\n"
    )
    outcome = sandbox.run(Call(source=source))
    assert outcome.value == {"ü": [1, [2]]}
    assert outcome.stdout.startswith('{"value": 0}\ny')
    assert outcome.stdout.endswith("[cut off here]")
    assert len(outcome.stdout) < 20_100
    assert outcome.stderr == "\ufffd straight"


def test_an_error_comes_with_the_tools_own_lines(sandbox: LocalSandbox) -> None:
    failure = sandbox.run(Call(source="def tool(x):\n    return 1 / x\n", args={"x": 0})).failure
    assert failure is not None
    assert failure.message == "ZeroDivisionError: division by zero"
    assert "return 1 / x" in failure.traceback
    assert "guest.py" not in failure.traceback


def test_a_tool_has_the_variables_it_was_given_and_no_others(sandbox: LocalSandbox) -> None:
    source = "import os\ndef tool():\n    return dict(os.environ)\n"
    found = sandbox.run(Call(source=source, variables={"TOKEN": "t"})).value
    assert found == {"TOKEN": "t", "HOME": "/tmp", "TMPDIR": "/tmp", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def test_a_slow_tool_is_ended(tmp_path: Path) -> None:
    hurried = LocalSandbox(Policy(tmp_path, Limits(wall_s=0.3), pool=0))
    failure = hurried.run(Call(source="import time\ndef tool():\n    time.sleep(60)\n")).failure
    assert failure is not None
    assert failure.kind == "timeout"


def test_a_tool_that_nobody_waits_for_is_ended(sandbox: LocalSandbox) -> None:
    failure = sandbox.run(Call(source="import time\ndef tool():\n    time.sleep(60)\n"), lambda: True).failure
    assert failure is not None
    assert failure.kind == "abandoned"


def test_a_call_may_have_a_limit_of_its_own(sandbox: LocalSandbox) -> None:
    failure = sandbox.run(Call(source="import time\ndef tool():\n    time.sleep(60)\n", wall_s=0.2)).failure
    assert failure is not None
    assert "0.2 s" in failure.message


def test_twenty_calls_at_once_do_not_mix(sandbox: LocalSandbox) -> None:
    calls = [Call(source=ADD, args={"a": number, "b": 0}) for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        assert [outcome.value for outcome in pool.map(sandbox.run, calls)] == list(range(20))


def test_a_guest_ends_with_the_server_that_holds_it(tmp_path: Path) -> None:
    guest = Guest(Setup(Limits(), str(tmp_path)), nowhere)
    guest.ready()
    assert guest.alive()
    guest.end()
    assert not guest.alive()


def test_packages_are_installed_once_and_seen_by_their_tool_alone(
    sandbox: LocalSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "greeter-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("greeter.py", "WORD = 'hello'\n")
        archive.writestr("greeter-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
        archive.writestr(
            "greeter-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("greeter-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    call = Call(source="import greeter\ndef tool():\n    return greeter.WORD\n", requirements=("greeter==1.0",))
    assert "still being installed" in str(sandbox.run(call, lambda: True).failure), "nobody waits for pip"
    assert sandbox.run(call).value == "hello"
    wheel.unlink()
    assert sandbox.run(call).value == "hello"
    assert "No module named 'greeter'" in str(sandbox.run(replace(call, requirements=())).failure)
    assert "No matching distribution" in str(sandbox.run(replace(call, requirements=("greeter==2.0",))).failure)
    assert sandbox.packages(call.packages) == sandbox.prepare(call.packages) == "installed"
    assert "No matching distribution" in sandbox.packages(Packages("python", ("greeter==2.0",)))
    assert sandbox.packages(Packages("python", ("greeter==3.0",))) == "not installed yet"


@pytest.mark.parametrize(
    "wanted", ["--index-url=http://x", "git+https://x/y", "../../etc", "a b", "x @ file:///etc", "-r"]
)
def test_a_requirement_is_a_name_and_nothing_else(sandbox: LocalSandbox, wanted: str) -> None:
    failure = sandbox.run(Call(source=ADD, args={"a": 1}, requirements=(wanted,))).failure
    assert failure is not None
    assert failure.kind == "requirements"


class Bare(LocalSandbox):
    """On a machine without name spaces."""

    def isolation(self) -> Isolation:
        return Isolation(False, (), "no namespaces here", "get some")


def test_nothing_runs_unisolated_unless_the_operator_allows_it(tmp_path: Path) -> None:
    call = Call(source="import os\ndef tool():\n    return [dict(os.environ)['HOME'] == os.getcwd(), os.getuid()]\n")
    refused = Bare(Policy(tmp_path)).run(call).failure
    assert refused is not None
    assert (refused.kind, "no namespaces here" in refused.message) == ("unavailable", True)
    allowed = Bare(Policy(tmp_path, allow_unisolated=True)).run(call)
    assert allowed.value == [True, __import__("os").getuid()], allowed
