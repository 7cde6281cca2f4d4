"""The sandbox of this machine: processes behind Linux name spaces, some of them started before they are asked for."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.sandbox import seccomp
from agents.sandbox.base import Call, Failure, Isolation, Limits, Outcome, Packages
from agents.sandbox.egress import Reach
from agents.sandbox.node import Node
from agents.sandbox.npm import Npm
from agents.sandbox.pip import Pip
from agents.sandbox.process import Guest, NotStarted, Setup
from agents.sandbox.requirements import INSTALL_S, Environments, NotInstallable

KINDS = 8  # of guests that wait: by their packages, and by what was granted
HELD = (
    "namespaces (user, mount, process, network, IPC)",
    "seccomp",
    "no capabilities",
    "resource limits",
    "memory in sum",
)
UNHELD = ("resource limits", "memory in sum", "an environment of its own")
MEND = (
    "Tools need Linux 5.14 or newer and unprivileged user namespaces (in a container: a seccomp profile that lets "
    "`unshare` and `mount` through). SANDBOX_ALLOW_UNISOLATED=true runs them with the rights of the server."
)


def nowhere(host: str, port: int) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Accounts:
    """At the vendors of machines; empty where there is none."""

    e2b_api_key: str = ""
    e2b_template: str = ""
    modal_token_id: str = ""
    modal_token_secret: str = ""


@dataclass(frozen=True)
class Policy:
    """`folder`: where installed packages and empty roots are kept. `pool`: how many guests of a kind wait for a call.
    `reach`: where a tool that was granted the network may go. `node`: the program for TypeScript tools."""

    folder: Path
    limits: Limits = field(default_factory=Limits)
    pool: int = 2
    allow_unisolated: bool = False
    reach: Reach = nowhere
    node: str = ""
    accounts: Accounts = field(default=Accounts(), repr=False)


class LocalSandbox:
    """One a server process; thread-safe."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._node = Node(policy.node)
        folder = policy.folder / "packages"
        self._environments = {
            "python": Environments(folder, Pip()),
            "typescript": Environments(folder, Npm(self._node)),
        }
        self._waiting: OrderedDict[Setup, deque[Guest]] = OrderedDict()
        self._lock = threading.Lock()
        self._filling: set[Setup] = set()
        self._isolation: Isolation | None = None
        self._closed = False

    def run(self, call: Call, abandoned: Callable[[], bool] = bool) -> Outcome:
        isolation = self.isolation()
        if not isolation.isolated and not self._policy.allow_unisolated:
            return _failed("unavailable", f"this server cannot run custom tools safely: {isolation.problem}")
        try:
            node = self._node.program() if call.language == "typescript" else ""
            site = self._installed(call, abandoned)
            if not isolation.isolated:
                if call.server is not None:
                    return _failed("unavailable", "a tool that is not isolated gets no client of this server")
                return self._unisolated(call, replace(self._setup(site), node=node), abandoned)
            setup = replace(self._setup(site), node=node, network=call.network)
            setup = replace(setup, server=call.server is not None, client=call.client)
            guest = self._warm(setup) or self._started(setup)
        except NotInstallable as error:
            return _failed("requirements", str(error))
        except (NotStarted, OSError) as error:
            return _failed("unavailable", f"the sandbox did not start: {error}")
        try:
            return guest.ask(call, abandoned)
        finally:
            guest.end()
            self._refill(setup)

    def isolation(self) -> Isolation:
        """Found by trying, until it has worked: a machine that is short of memory now may not be so later."""
        if self._isolation is None:
            found = self._tried()
            if not found.isolated:
                return found
            self._isolation = found
        return self._isolation

    def prepare(self, packages: Packages) -> str:
        try:
            self._environments[packages.language].wait(packages.names, INSTALL_S)
        except NotInstallable as error:
            return str(error)
        return self.packages(packages)

    def packages(self, packages: Packages) -> str:
        return self._environments[packages.language].said(packages.names)

    def close(self) -> None:
        """End the guests that wait."""
        with self._lock:
            self._closed = True
            waiting = [guest for pool in self._waiting.values() for guest in pool]
            self._waiting.clear()
        for guest in waiting:
            guest.end()

    def _tried(self) -> Isolation:
        if sys.platform != "linux" or not seccomp.known():
            return Isolation(False, UNHELD, f"no name spaces on {sys.platform}, or an unknown processor", MEND)
        try:
            self._started(self._setup()).end()
        except (NotStarted, OSError) as error:
            return Isolation(False, UNHELD, str(error), MEND)
        return Isolation(True, HELD)

    def _installed(self, call: Call, abandoned: Callable[[], bool]) -> str:
        if not call.requirements:
            return ""
        environments, seconds = self._environments[call.language], call.wall_s or self._policy.limits.wall_s
        return str(environments.wait(call.requirements, seconds, abandoned))

    def _setup(self, site: str = "") -> Setup:
        root = self._policy.folder / "root"
        root.mkdir(parents=True, exist_ok=True)
        return Setup(self._policy.limits, str(root), True, site)

    def _started(self, setup: Setup) -> Guest:
        guest = Guest(setup, self._policy.reach)
        guest.ready()
        return guest

    def _unisolated(self, call: Call, setup: Setup, abandoned: Callable[[], bool]) -> Outcome:
        with TemporaryDirectory(prefix="tool-") as scratch:
            if setup.node and setup.site:
                os.symlink(f"{setup.site}/node_modules", f"{scratch}/node_modules")
            guest = self._started(replace(setup, isolated=False, root=scratch))
            try:
                return guest.ask(call, abandoned)
            finally:
                guest.end()

    def _warm(self, setup: Setup) -> Guest | None:
        with self._lock:
            waiting = self._waiting.get(setup) or deque()
            while waiting:
                guest = waiting.popleft()
                if guest.alive():
                    return guest
                guest.end()
        return None

    def _refill(self, setup: Setup) -> None:
        """By a thread that ends when the pool is full: a server that runs no tools keeps none."""
        with self._lock:
            if setup in self._filling or not self._wants_more(setup):
                return
            self._filling.add(setup)
        threading.Thread(target=self._fill, args=(setup,), name="sandbox-pool", daemon=True).start()

    def _fill(self, setup: Setup) -> None:
        try:
            while self._put(setup, self._started(setup)):
                pass
        except (NotStarted, OSError):
            pass  # the next call starts its own, and tells what is wrong
        finally:
            with self._lock:
                self._filling.discard(setup)

    def _put(self, setup: Setup, guest: Guest) -> bool:
        """Whether more are wanted. Kinds of guests that were not asked for lately give way."""
        given_up = []
        with self._lock:
            if self._wants_more(setup):
                self._waiting.setdefault(setup, deque()).append(guest)
                self._waiting.move_to_end(setup)
            else:
                given_up.append(guest)
            while len(self._waiting) > KINDS:
                given_up += self._waiting.popitem(last=False)[1]
            more = self._wants_more(setup)
        for one in given_up:
            one.end()
        return more

    def _wants_more(self, setup: Setup) -> bool:
        return not self._closed and len(self._waiting.get(setup, ())) < self._policy.pool


def _failed(kind: str, message: str) -> Outcome:
    return Outcome(failure=Failure(kind, message))  # type: ignore[arg-type]  # one of two literals above
