"""The packages that tools ask for: installed once per set, in a folder that its sandboxes see read-only."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_WANTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(\[[A-Za-z0-9,._-]{1,99}\])?(==[A-Za-z0-9.!+_-]{1,60})?")
INSTALL_S = 300
MAX_REQUIREMENTS = 50
FAILED_S = 60.0  # how long a set that cannot be installed is not tried again
LOOK_S = 0.1
_SAID = re.compile(r"\s*(Collecting|Downloading|Using cached|Installing) ")


class NotInstallable(Exception):
    """The message is for whoever wrote the tool."""


def checked(requirements: Sequence[str]) -> list[str]:
    """Names and exact versions only: an address or an option of pip would reach what the server can reach."""
    if len(requirements) > MAX_REQUIREMENTS:
        raise NotInstallable(f"at most {MAX_REQUIREMENTS} pip requirements are taken")
    for requirement in requirements:
        if not _WANTED.fullmatch(requirement):
            raise NotInstallable(f"write a pip requirement as name or name==version, not {requirement[:100]!r}")
    return sorted(set(requirements))


class Environments:
    """One a server process; thread-safe. Each set is built by a thread of its own, whoever waits for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._builds: dict[str, _Build] = {}
        self._lock = threading.Lock()

    def wait(self, requirements: Sequence[str], seconds: float, abandoned: Callable[[], bool] = bool) -> Path:
        """The folder that holds them, built now where it is new. Raises NotInstallable; also when it takes longer than
        that: it is gone on with, and the next call finds it."""
        wanted = checked(requirements)
        done = self._place(wanted)
        if done.is_dir():
            return done
        build, deadline = self._begun(done, wanted), time.monotonic() + seconds
        while not build.ended.wait(LOOK_S):
            if abandoned() or time.monotonic() > deadline:
                names = ", ".join(wanted)
                raise NotInstallable(f"{names} are still being installed ({build.said}): call it again in a moment")
        if build.problem:
            raise NotInstallable(build.problem)
        return done

    def said(self, requirements: Sequence[str]) -> str:
        """How far they are, whichever process of this machine is at it."""
        try:
            done = self._place(checked(requirements))
            return "installed" if done.is_dir() else done.with_suffix(".said").read_text()
        except NotInstallable as error:
            return str(error)
        except FileNotFoundError:
            return "not installed yet"

    def _place(self, wanted: Sequence[str]) -> Path:
        return self._folder / hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:32]

    def _begun(self, done: Path, wanted: Sequence[str]) -> _Build:
        with self._lock:
            build = self._builds.get(done.name)
            if build is None or build.is_over():
                build = self._builds[done.name] = _Build(done, wanted)
                threading.Thread(target=build.run, name="packages", daemon=True).start()
            return build


class _Build:
    """Wheels only: building a source distribution would run its code outside the sandbox.

    `said`: what it is at. `problem`: why it failed, for whoever wrote the tool.
    """

    def __init__(self, done: Path, wanted: Sequence[str]) -> None:
        self.said = "waiting to begin"
        self.problem = ""
        self.ended = threading.Event()
        self._done = done
        self._wanted = wanted
        self._ended_at = 0.0

    def is_over(self) -> bool:
        """It is there, or may be tried again."""
        return self.ended.is_set() and (not self.problem or time.monotonic() - self._ended_at > FAILED_S)

    def run(self) -> None:
        try:
            self._run()
        except NotInstallable as error:
            self.problem = str(error)
        except OSError as error:
            self.problem = f"{', '.join(self._wanted)} cannot be installed: {error}"
        finally:
            if self.problem:
                self._say(self.problem)
            self._ended_at = time.monotonic()
            self.ended.set()

    def _say(self, text: str) -> None:
        self.said = text
        self._done.with_suffix(".said").write_text(text)

    def _run(self) -> None:
        self._done.parent.mkdir(parents=True, exist_ok=True)
        with open(self._done.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process of this machine may be at it
            if not self._done.is_dir():
                draft = self._done.with_suffix(".draft")
                shutil.rmtree(draft, ignore_errors=True)
                self._install(draft)
                draft.rename(self._done)

    def _install(self, folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--no-input", "--only-binary=:all:", "--progress-bar=off"]
        with subprocess.Popen(
            [*command, "--target", str(folder), *self._wanted],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            umask=0o022,
        ) as pip:
            late = threading.Timer(INSTALL_S, pip.kill)
            late.start()
            errors = self._read(pip)
            code = pip.wait()
            was_late = not late.is_alive()
            late.cancel()
        names = ", ".join(self._wanted)
        if code and was_late:
            raise NotInstallable(f"installing {names} took more than {INSTALL_S} s")
        if code:
            last = errors[-1] if errors else "pip failed"
            raise NotInstallable(f"{names} cannot be installed: {last.removeprefix('ERROR: ')[:300]}")
        folder.mkdir(exist_ok=True)

    def _read(self, pip: subprocess.Popen[str]) -> list[str]:
        """Follows what pip says; its errors."""
        errors = []
        for line in pip.stdout or ():
            if line.startswith("ERROR"):
                errors.append(line.strip())
            elif _SAID.match(line):
                self._say(line.strip()[:120])
        return errors
