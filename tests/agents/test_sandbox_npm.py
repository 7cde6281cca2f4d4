"""Packages of npm for TypeScript tools: from the registry, without their scripts, seen read-only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agents.sandbox.base import Call, Isolation, Limits, Packages
from agents.sandbox.local import LocalSandbox, Policy
from agents.tools.packages import check_names
from core.errors import Invalid
from tests.support.npm_registry import Registry, serving

GREET = """
import fs from "node:fs";
import { greeting } from "@ours/greeter";
export function tool() {
  const made = ["scripts-ran", "own"].map((name) => `/node_modules/@ours/greeter/${name}`);
  try { fs.writeFileSync(made[1], "") } catch (error) { return [greeting, fs.existsSync(made[0]), error.code] }
}
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSandbox]:
    found = LocalSandbox(Policy(tmp_path_factory.mktemp("sandbox"), Limits(wall_s=60), pool=0))
    yield found
    found.close()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with serving() as found:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", found.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield found


def call(*names: str, source: str = GREET) -> Call:
    return Call(source=source, language="typescript", requirements=names)


def test_packages_come_with_what_they_need_and_run_nothing_when_installed(
    sandbox: LocalSandbox, registry: Registry
) -> None:
    writes = """node -e 'require("fs").writeFileSync("scripts-ran", "")'"""
    registry.publish("word", {"index.js": "export default 'hello';"})
    index = "import word from 'word'; export const greeting = word + ' you';"
    scripts = {"preinstall": writes, "install": writes, "postinstall": writes}
    registry.publish("@ours/greeter", {"index.js": index}, scripts=scripts, dependencies={"word": "^1.0.0"})
    asked = call("@ours/greeter@1.0.0")
    assert sandbox.packages(asked.packages) == "not installed yet"
    outcome = sandbox.run(asked)
    assert outcome.value == ["hello you", False, "EROFS"], outcome
    assert sandbox.prepare(asked.packages) == sandbox.packages(asked.packages) == "installed"
    before = len(registry.asked)
    assert sandbox.run(asked).value == outcome.value
    assert len(registry.asked) == before, "it was installed once"
    assert "Cannot find package" in str(sandbox.run(replace(asked, requirements=())).failure)

    class Bare(LocalSandbox):
        def isolation(self) -> Isolation:
            return Isolation(False, (), "no namespaces here", "get some")

    source = "import { greeting } from '@ours/greeter';\nexport function tool() { return greeting }"
    bare = Bare(replace(sandbox._policy, allow_unisolated=True))
    assert bare.run(replace(asked, source=source)).value == "hello you"


def test_what_lies_outside_the_registry_is_not_fetched(sandbox: LocalSandbox, registry: Registry) -> None:
    for place, wanted in (("url", f"{registry.url}/internal.tgz"), ("git", f"git+{registry.url}/x.git")):
        registry.publish(place, {}, dependencies={"inner": wanted})
        failure = sandbox.run(call(place)).failure
        assert failure is not None
        assert failure.kind == "requirements"
        assert "have been disabled" in failure.message
    assert not [path for path in registry.asked if "internal" in path or "x.git" in path]
    missing = sandbox.prepare(Packages("typescript", ("nowhere-to-be-found",)))
    assert "cannot be installed: 404 Not Found" in missing


@pytest.mark.parametrize(
    "wanted",
    [
        "--registry=http://x",
        "a@git+https://x/y",
        "../../etc",
        "a b",
        "x@file:/etc",
        "x@npm:y",
        "user/repo",
        "x@1.0 || 2",
    ],
)
def test_a_requirement_is_a_name_and_a_version_and_nothing_else(sandbox: LocalSandbox, wanted: str) -> None:
    failure = sandbox.run(call(wanted)).failure
    assert failure is not None
    assert failure.kind == "requirements"
    with pytest.raises(Invalid, match="npm_requirements"):
        check_names(None, [{"name": wanted}])
