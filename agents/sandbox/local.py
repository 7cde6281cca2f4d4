"""The sandbox of this machine: processes behind Linux name spaces, some of them started before they are asked for."""

from __future__ import annotations

import sys
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.sandbox import seccomp
from agents.sandbox.base import Call, Failure, Isolation, Limits, Outcome
from agents.sandbox.process import Guest, NotStarted, Setup
from agents.sandbox.requirements import NotInstallable, installed

HELD = ("namespaces (user, mount, process, network, IPC)", "seccomp", "no capabilities", "resource limits")
UNHELD = ("resource limits", "an environment of its own")
MEND = (
    "Tools need Linux 5.14 or newer and unprivileged user namespaces (in a container: a seccomp profile that lets "
    "`unshare` and `mount` through). SANDBOX_ALLOW_UNISOLATED=true runs them with the rights of the server."
)


@dataclass(frozen=True)
class Policy:
    """`folder`: where installed packages and empty roots are kept. `pool`: how many guests wait for a call."""

    folder: Path
    limits: Limits = field(default_factory=Limits)
    pool: int = 2
    allow_unisolated: bool = False


class LocalSandbox:
    """One a server process; thread-safe."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._waiting: deque[Guest] = deque()
        self._lock = threading.Lock()
        self._filling = False
        self._isolation: Isolation | None = None
        self._closed = False

    def run(self, call: Call) -> Outcome:
        isolation = self.isolation()
        if not isolation.isolated and not self._policy.allow_unisolated:
            return _failed("unavailable", f"this server cannot run custom tools safely: {isolation.problem}")
        try:
            site = str(installed(call.requirements, self._policy.folder / "packages")) if call.requirements else ""
            if not isolation.isolated:
                return self._unisolated(call, site)
            guest = None if site else self._warm()
            if guest is None:
                guest = self._started(self._setup(site))
        except NotInstallable as error:
            return _failed("requirements", str(error))
        except (NotStarted, OSError) as error:
            return _failed("unavailable", f"the sandbox did not start: {error}")
        try:
            return guest.ask(call)
        finally:
            guest.end()
            self._refill()

    def isolation(self) -> Isolation:
        """Found by trying, until it has worked: a machine that is short of memory now may not be so later."""
        if self._isolation is None:
            found = self._tried()
            if not found.isolated:
                return found
            self._isolation = found
        return self._isolation

    def close(self) -> None:
        """End the guests that wait."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
        for guest in waiting:
            guest.end()

    def _tried(self) -> Isolation:
        if sys.platform != "linux" or not seccomp.known():
            return Isolation(False, UNHELD, f"no name spaces on {sys.platform}, or an unknown processor", MEND)
        try:
            self._started(self._setup("")).end()
        except (NotStarted, OSError) as error:
            return Isolation(False, UNHELD, str(error), MEND)
        return Isolation(True, HELD)

    def _setup(self, site: str) -> Setup:
        root = self._policy.folder / "root"
        root.mkdir(parents=True, exist_ok=True)
        return Setup(self._policy.limits, str(root), True, site)

    def _started(self, setup: Setup) -> Guest:
        guest = Guest(setup)
        guest.ready()
        return guest

    def _unisolated(self, call: Call, site: str) -> Outcome:
        with TemporaryDirectory(prefix="tool-") as scratch:
            guest = self._started(replace(self._setup(site), isolated=False, root=scratch))
            try:
                return guest.ask(call)
            finally:
                guest.end()

    def _warm(self) -> Guest | None:
        with self._lock:
            while self._waiting:
                guest = self._waiting.popleft()
                if guest.alive():
                    return guest
                guest.end()
        return None

    def _refill(self) -> None:
        """By a thread that ends when the pool is full: a server that runs no tools keeps none."""
        with self._lock:
            if self._filling or self._closed or len(self._waiting) >= self._policy.pool:
                return
            self._filling = True
        threading.Thread(target=self._fill, name="sandbox-pool", daemon=True).start()

    def _fill(self) -> None:
        try:
            while self._wants_more():
                guest = self._started(self._setup(""))
                with self._lock:
                    if not self._closed:
                        self._waiting.append(guest)
                        continue
                guest.end()
        except (NotStarted, OSError):
            pass  # the next call starts its own, and tells what is wrong
        finally:
            with self._lock:
                self._filling = False

    def _wants_more(self) -> bool:
        with self._lock:
            return not self._closed and len(self._waiting) < self._policy.pool


def _failed(kind: str, message: str) -> Outcome:
    return Outcome(failure=Failure(kind, message))  # type: ignore[arg-type]  # one of two literals above
