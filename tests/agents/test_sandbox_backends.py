"""One contract for every back end of the sandbox: this machine, and doubles of the vendors' packages."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agents.sandbox.base import Call, Limits, Packages, Sandbox
from agents.sandbox.e2b import E2BSandbox
from agents.sandbox.local import Accounts, LocalSandbox, Policy
from agents.sandbox.modal import ModalSandbox
from agents.sandbox.remote import RemoteSandbox
from tests.support.vendors import machines
from tests.support.vendors.machines import Machine

ACCOUNTS = Accounts("e2b_right", "base", "ak-right", "as-right")
LIMITS = Limits(wall_s=30, output_chars=1000, return_bytes=10_000)
BACKENDS: dict[str, Callable[[Policy], Sandbox]] = {"local": LocalSandbox, "e2b": E2BSandbox, "modal": ModalSandbox}
SOURCE = """
import os
def tool(word, agent_state):
    print("working")
    agent_state.memory.update_block_value("human", word)
    return {"word": word, "token": os.environ["TOKEN"], "home": os.environ["HOME"] == os.getcwd()}
"""
STATE = {"id": "agent-1", "memory": {"blocks": [{"label": "human", "value": "?"}]}}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Policy]:
    """With the doubles where `import e2b` and `import modal` find them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(machines.__file__).parent))
        yield Policy(tmp_path_factory.mktemp("sandbox"), LIMITS, pool=0, accounts=ACCOUNTS)
        Machine.forget()
    for name in ("e2b", "modal"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request: pytest.FixtureRequest, policy: Policy) -> Sandbox:
    return BACKENDS[request.param](policy)


def test_a_call_has_its_arguments_variables_and_agent_and_tells_what_it_did(sandbox: Sandbox) -> None:
    call = Call(source=SOURCE, args={"word": "ü"}, variables={"TOKEN": "t"}, state=STATE)
    outcome = sandbox.run(call)
    assert outcome.value == {"word": "ü", "token": "t", "home": True}, outcome
    assert (outcome.stdout, outcome.memory) == ("working\n", {"human": "ü"})
    failure = sandbox.run(replace(call, variables={})).failure
    assert failure is not None
    assert (failure.kind, failure.message) == ("exception", "KeyError: 'TOKEN'")
    assert 'os.environ["TOKEN"]' in failure.traceback


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("import time; time.sleep(60)", "timeout"),
        ("return 'x' * 20_000", "bad_return"),
        ("print('x' * 2_000_000)", "output"),
        ("import os; os._exit(3)", "crashed"),
    ],
)
def test_what_goes_too_far_is_ended_and_told(sandbox: Sandbox, body: str, kind: str) -> None:
    failure = sandbox.run(Call(source=f"def tool():\n    {body}\n", wall_s=1.0)).failure
    assert failure is not None
    assert failure.kind == kind, failure


def test_a_call_that_nobody_waits_for_is_given_up(sandbox: Sandbox) -> None:
    failure = sandbox.run(Call(source="import time\ndef tool():\n    time.sleep(60)\n"), lambda: True).failure
    assert failure is not None
    assert failure.kind == "abandoned"
    assert not Machine.alive


def test_typescript_and_packages_are_there(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "export function tool(a: number): number { return a + 1 }"
    assert sandbox.run(Call(source=script, args={"a": 41}, order=("a",), language="typescript")).value == 42
    with zipfile.ZipFile(tmp_path / "greeter-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("greeter.py", "WORD = 'hello'\n")
        archive.writestr("greeter-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
        archive.writestr(
            "greeter-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("greeter-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    call = Call(source="import greeter\ndef tool():\n    return greeter.WORD\n", requirements=("greeter==1.0",))
    assert sandbox.packages(call.packages) == "not installed yet"
    assert sandbox.prepare(call.packages) == "installed"
    assert sandbox.run(call).value == "hello"
    assert "No matching distribution" in sandbox.prepare(Packages("python", ("nobodys==1",)))
    assert sandbox.prepare(Packages("python", ("-r",))).startswith("write a pip requirement")


@pytest.mark.parametrize("backend", [E2BSandbox, ModalSandbox])
def test_each_call_has_a_machine_of_its_own_with_the_network_only_where_it_was_granted(
    policy: Policy, tmp_path: Path, backend: type[E2BSandbox] | type[ModalSandbox]
) -> None:
    sandbox = backend(replace(policy, folder=tmp_path))
    assert sandbox.isolation().isolated
    Machine.made.clear()
    leaves = (
        "import agents.sandbox, os\ndef tool():\n    place = agents.sandbox.__path__[0] + '/left'\n"
        "    was = os.path.exists(place)\n    open(place, 'w').close()\n    return was\n"
    )
    call = Call(source=leaves, wall_s=5.0)
    assert [sandbox.run(call).value, sandbox.run(replace(call, network=True)).value] == [False, False]
    asked = [(made["network"], made["seconds"]) for made in Machine.made]
    assert asked == [(True, 330), (False, 35), (True, 35)], "the first one is that which the image is made of"
    Machine.images.clear()
    lost = sandbox.run(call).failure
    assert lost is not None
    assert "has lost what was installed" in lost.message
    assert sandbox.run(call).value is False
    assert not Machine.alive


@pytest.mark.parametrize("backend", [E2BSandbox, ModalSandbox])
def test_a_wrong_key_is_told_and_not_repeated(
    policy: Policy, tmp_path: Path, backend: type[E2BSandbox] | type[ModalSandbox]
) -> None:
    wrong = Accounts("key-wrong", "base", "id-wrong", "secret-wrong")
    sandbox = backend(replace(policy, folder=tmp_path, accounts=wrong))
    found, failure = sandbox.isolation(), sandbox.run(Call(source=SOURCE)).failure
    assert failure is not None
    assert not found.isolated
    for text in (found.problem, failure.message):
        assert "Auth" in text
        assert "wrong" not in text
    without: RemoteSandbox = backend(replace(policy, accounts=Accounts()))
    assert "not set" in str(without.run(Call(source=SOURCE)).failure)
    assert "not set" in without.prepare(Packages())


@pytest.mark.parametrize(("backend", "name"), [(E2BSandbox, "e2b"), (ModalSandbox, "modal")])
def test_a_missing_package_is_told_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: type[E2BSandbox] | type[ModalSandbox], name: str
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, name, raising=False)
    found = backend(Policy(tmp_path, accounts=ACCOUNTS)).isolation()
    assert (found.problem, found.mend) == (
        f"the package {name} is not installed",
        f"pip install -r requirements-{name}.txt",
    )
