"""The processes of one installation: started in order, watched, their logs followed, stopped in reverse order."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stack.children import Child, Program

KEEP_LOG_BYTES = 10 << 20
STOP_SECONDS = 20


class Group:
    """`folder` keeps the pid files, by which the next group ends what a killed one left running."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.folder = folder
        self.logs = logs
        self.children: list[Child] = []
        self._ended = threading.Event()
        self._follower: threading.Thread | None = None
        folder.mkdir(parents=True, exist_ok=True)
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> Child:
        log = self.logs / f"{name}.log"
        if log.exists() and log.stat().st_size > KEEP_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        child = Child(Program(name, argv, self.folder / f"{name}.pid", log, cwd, env))
        child.start()
        self.children.append(child)
        return child

    def ended(self) -> Child | None:
        """A child that is no longer there, though nobody stopped it."""
        return next((child for child in self.children if not child.alive()), None)

    def follow(self, write: Callable[[str, str], None]) -> None:
        """From now on, each new line of each log goes to `write(name, line)`."""
        logs = [(child.program.name, child.program.log) for child in self.children if child.program.log]
        places = {name: log.stat().st_size for name, log in logs}

        def read() -> None:
            while not self._ended.wait(0.3):
                for name, log in logs:
                    places[name] = _pass_on(name, log, places[name], write)

        self._follower = threading.Thread(target=read, name="log-follower", daemon=True)
        self._follower.start()

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop(STOP_SECONDS)
        self.children.clear()
        self._ended.set()
        if self._follower is not None:
            self._follower.join(2)


def _pass_on(name: str, log: Path, place: int, write: Callable[[str, str], None]) -> int:
    """Whole lines only; answers where the next reading starts."""
    with log.open("rb") as file:
        file.seek(place)
        fresh = file.read(1 << 20)
    whole = fresh[: fresh.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        write(name, line)
    return place + len(whole)
