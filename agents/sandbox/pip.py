"""Python packages, from wheels only: building a source distribution would run its code outside the sandbox."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.sandbox.requirements import MAX_REQUIREMENTS, NotInstallable, Say, followed

_WANTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(\[[A-Za-z0-9,._-]{1,99}\])?(==[A-Za-z0-9.!+_-]{1,60})?")
_SAID = re.compile(r"(Collecting|Downloading|Using cached|Installing) ")
_COMMAND = ("-m", "pip", "install", "--no-input", "--only-binary=:all:", "--progress-bar=off")


class Pip:
    def key(self) -> str:
        return sys.version

    @staticmethod
    def checked(wanted: Sequence[str]) -> list[str]:
        """An address or an option of pip would reach what the server can reach."""
        if len(wanted) > MAX_REQUIREMENTS:
            raise NotInstallable(f"at most {MAX_REQUIREMENTS} pip requirements are taken")
        for requirement in wanted:
            if not _WANTED.fullmatch(requirement):
                raise NotInstallable(f"write a pip requirement as name or name==version, not {requirement[:100]!r}")
        return sorted(set(wanted))

    def install(self, folder: Path, wanted: Sequence[str], say: Say) -> None:
        errors = []

        def read(line: str) -> None:
            if line.startswith("ERROR"):
                errors.append(line.removeprefix("ERROR: ")[:300])
            elif _SAID.match(line):
                say(line[:120])

        if followed([sys.executable, *_COMMAND, "--target", str(folder), *wanted], read):
            raise NotInstallable(errors[-1] if errors else "pip failed")
        folder.mkdir(exist_ok=True)
