"""The packages that tools ask for: installed once per set, in a folder that its sandboxes see read-only."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

INSTALL_S = 300
MAX_REQUIREMENTS = 50
FAILED_S = 60.0  # how long a set that cannot be installed is not tried again
LOOK_S = 0.1

Say = Callable[[str], None]


class NotInstallable(Exception):
    """The message is for whoever wrote the tool."""


class Installer(Protocol):
    def key(self) -> str:
        """What a set depends on beside its names. Raises NotInstallable."""
        ...

    def checked(self, wanted: Sequence[str]) -> list[str]:
        """Sorted, and nothing but names and versions. Raises NotInstallable."""
        ...

    def install(self, folder: Path, wanted: Sequence[str], say: Say) -> None:
        """Into a folder that is not there yet; `say`: what it is at. Raises NotInstallable, OSError."""
        ...


class Environments:
    """One a server process and installer; thread-safe. Each set is built by a thread of its own, whoever waits."""

    def __init__(self, folder: Path, installer: Installer) -> None:
        self._folder = folder
        self._installer = installer
        self._builds: dict[str, _Build] = {}
        self._lock = threading.Lock()

    def wait(self, requirements: Sequence[str], seconds: float, abandoned: Callable[[], bool] = bool) -> Path:
        """The folder that holds them, built now where it is new. Raises NotInstallable; also when it takes longer than
        that: it is gone on with, and the next call finds it."""
        wanted = self._installer.checked(requirements)
        done = self._place(wanted)
        if done.is_dir():
            return done
        build, deadline = self._begun(done, wanted), time.monotonic() + seconds
        while not build.ended.wait(LOOK_S):
            if abandoned() or time.monotonic() > deadline:
                raise NotInstallable(
                    f"{named(wanted)} are still being installed ({build.said}): call it again in a moment"
                )
        if build.problem:
            raise NotInstallable(build.problem)
        return done

    def said(self, requirements: Sequence[str]) -> str:
        """How far they are, whichever process of this machine is at it."""
        try:
            done = self._place(self._installer.checked(requirements))
            return "installed" if done.is_dir() else done.with_suffix(".said").read_text()
        except NotInstallable as error:
            return str(error)
        except FileNotFoundError:
            return "not installed yet"

    def _place(self, wanted: Sequence[str]) -> Path:
        return self._folder / hashlib.sha256("\n".join([self._installer.key(), *wanted]).encode()).hexdigest()[:32]

    def _begun(self, done: Path, wanted: Sequence[str]) -> _Build:
        with self._lock:
            build = self._builds.get(done.name)
            if build is None or build.is_over():
                build = self._builds[done.name] = _Build(done, wanted, self._installer)
                threading.Thread(target=build.run, name="packages", daemon=True).start()
            return build


class _Build:
    """`said`: what it is at. `problem`: why it failed, for whoever wrote the tool."""

    def __init__(self, done: Path, wanted: Sequence[str], installer: Installer) -> None:
        self.said = "waiting to begin"
        self.problem = ""
        self.ended = threading.Event()
        self._done = done
        self._wanted = wanted
        self._installer = installer
        self._ended_at = 0.0

    def is_over(self) -> bool:
        """It is there, or may be tried again."""
        return self.ended.is_set() and (not self.problem or time.monotonic() - self._ended_at > FAILED_S)

    def run(self) -> None:
        try:
            self._run()
        except (NotInstallable, OSError) as error:
            self.problem = f"{named(self._wanted)} cannot be installed: {error}"
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
                self._installer.install(draft, self._wanted, self._say)
                draft.rename(self._done)


def named(wanted: Sequence[str]) -> str:
    return ", ".join(wanted) or "the server's own parts"


def followed(command: Sequence[str], read: Say, folder: Path | None = None) -> int:
    """The exit code of an installer whose every line is read as it says it. Raises NotInstallable when it is slow."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=0o022,
        cwd=folder,
    ) as installer:
        late = threading.Timer(INSTALL_S, installer.kill)
        late.start()
        for line in installer.stdout or ():
            read(line.strip())
        code = installer.wait()
        was_late = not late.is_alive()
        late.cancel()
    if code and was_late:
        raise NotInstallable(f"it took more than {INSTALL_S} s")
    return code
