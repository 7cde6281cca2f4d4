"""The packages that a tool asks for: installed once per set, in a folder that its sandbox sees read-only."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_WANTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(\[[A-Za-z0-9,._-]{1,99}\])?(==[A-Za-z0-9.!+_-]{1,60})?")
INSTALL_S = 300
MAX_REQUIREMENTS = 50


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


def installed(requirements: Sequence[str], folder: Path) -> Path:
    """The folder that holds them, made now where it is new; others who want the same wait. Raises NotInstallable.

    Wheels only: building a source distribution would run its code outside the sandbox.
    """
    wanted = checked(requirements)
    key = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:32]
    done = folder / key
    if done.is_dir():
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_dir():
            draft = folder / f"{key}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            _install(wanted, draft)
            draft.rename(done)
    return done


def _install(wanted: Sequence[str], folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--only-binary=:all:"]
    try:
        done = subprocess.run(
            [*command, "--target", str(folder), *wanted],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
            umask=0o022,
        )
    except subprocess.TimeoutExpired:
        raise NotInstallable(f"installing {', '.join(wanted)} took more than {INSTALL_S} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise NotInstallable(f"{', '.join(wanted)} cannot be installed: {lines[-1].removeprefix('ERROR: ')[:300]}")
    folder.mkdir(exist_ok=True)
