"""What the doubles of vendors rent out: a folder of this machine, and processes in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any


class Machine:
    """`home` of its own file system lies in a folder here."""

    made: list[dict[str, Any]] = []
    alive: list[Machine] = []
    images: dict[str, Path] = {}

    def __init__(self, home: str, files: Path | None, **asked: Any) -> None:
        self._home = home
        self._folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self._running: list[subprocess.Popen[str]] = []
        if files is not None:
            shutil.copytree(files, self._folder, dirs_exist_ok=True)
        self.made.append(asked)
        self.alive.append(self)

    def write(self, path: str, data: bytes) -> None:
        place = Path(path.replace(self._home, str(self._folder)))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def run(self, command: str) -> Iterator[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        with subprocess.Popen(
            ["sh", "-c", command.replace(self._home, str(self._folder))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,
        ) as process:
            self._running.append(process)
            yield from process.stdout or ()

    def picture(self) -> str:
        name = f"image-{len(self.images)}"
        self.images[name] = Path(tempfile.mkdtemp(prefix="image-"))
        shutil.copytree(self._folder, self.images[name], dirs_exist_ok=True)
        return name

    def end(self) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)
        self.alive.remove(self)

    @classmethod
    def forget(cls) -> None:
        """All machines and images there were."""
        for machine in list(cls.alive):
            machine.end()
        for folder in cls.images.values():
            shutil.rmtree(folder)
        cls.images.clear()
        cls.made.clear()
