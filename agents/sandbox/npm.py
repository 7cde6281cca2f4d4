"""Packages of npm, for TypeScript tools: from the registry alone, and none of their scripts is run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from agents.sandbox.node import Node
from agents.sandbox.process import NotStarted
from agents.sandbox.requirements import MAX_REQUIREMENTS, NotInstallable, Say, followed

OLDEST = (11, 17)  # older ones cannot be told to leave git and addresses alone
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
# Exact, a range with one bound (^1.2, ~1.2.3, 1.x), or a tag; never a path, an address or an alias.
_NUMBER = r"[\^~]?[0-9]{1,9}(\.([0-9]{1,9}|[x*])){0,2}(-[0-9A-Za-z-]{1,20}(\.[0-9]{1,9}){0,3})?(\+[0-9A-Za-z-]{1,20})?"
_WANTED = re.compile(rf"(?P<name>(@{_PART}/)?{_PART})(@(?P<version>{_NUMBER}|\*|[a-z][a-z0-9-]{{0,39}}))?")
_OPTIONS = (
    "install",
    "--ignore-scripts",
    "--no-bin-links",
    "--no-package-lock",
    "--omit=dev",
    *(f"--allow-{place}=none" for place in ("git", "remote", "file", "directory")),
    *(f"--no-{name}" for name in ("audit", "fund", "update-notifier", "color", "progress")),
    "--loglevel=http",
    "--logs-max=0",
)
_FETCHED = re.compile(r"npm http fetch GET 200 \S*/([^/?\s]+)(\?\S*)? ")
_ERROR = re.compile(r"npm (?:error|ERR!)\s*(.*)")


class Npm:
    def __init__(self, node: Node) -> None:
        self._node = node

    def key(self) -> str:
        """One Node reads what another has installed, so long as nothing was built."""
        return "npm"

    @staticmethod
    def checked(wanted: Sequence[str]) -> list[str]:
        if len(wanted) > MAX_REQUIREMENTS:
            raise NotInstallable(f"at most {MAX_REQUIREMENTS} npm requirements are taken")
        for requirement in wanted:
            if not _WANTED.fullmatch(requirement):
                raise NotInstallable(
                    f"write an npm requirement as name and version (1.2.3, ^1.2 or a tag), not {requirement[:100]!r}"
                )
        return sorted(set(wanted))

    def install(self, folder: Path, wanted: Sequence[str], say: Say) -> None:
        """By a package.json: what is written there is never read as an option."""
        program, npm = self._programs()
        folder.mkdir(parents=True)
        found = [_WANTED.fullmatch(requirement) for requirement in wanted]
        dependencies = {one["name"]: one["version"] or "latest" for one in found if one}
        (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": dependencies}))
        errors: list[str] = []

        def read(line: str) -> None:
            if error := _ERROR.match(line):
                errors.append(error[1])
            elif fetched := _FETCHED.match(line):
                say(f"fetched {fetched[1][:100]}")

        if followed([program, npm, *_OPTIONS, f"--cache={folder.parent / '.npm'}"], read, folder):
            raise NotInstallable(_worst(errors))
        (folder / "node_modules").mkdir(exist_ok=True)

    def _programs(self) -> tuple[str, str]:
        """Node, and the npm that came with it."""
        try:
            program = self._node.program()
        except NotStarted as error:
            raise NotInstallable(str(error)) from None
        home = Path(program).parents[1] / "lib" / "node_modules" / "npm"
        try:
            said = str(json.loads((home / "package.json").read_text())["version"])
        except (OSError, ValueError, KeyError):
            raise NotInstallable(f"there is no npm beside {program}: this server cannot install packages") from None
        version = re.match(r"(\d+)\.(\d+)", said)
        if version is None or (int(version[1]), int(version[2])) < OLDEST:
            raise NotInstallable(f"this server needs npm {'.'.join(map(str, OLDEST))} or newer, and has {said[:20]}")
        return program, os.fspath(home / "bin" / "npm-cli.js")


def _worst(errors: Sequence[str]) -> str:
    """Its first line is a code, the next one says what is wrong, each behind a word that tells its kind."""
    said = [line for line in errors if line and not line.startswith(("code ", "A complete log"))]
    return said[0][:300] if said else "npm failed"
