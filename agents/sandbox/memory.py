"""What the processes of a call take of the memory together: looked at again and again, and ended beyond its limit.

The kernel limits each process; a sum it holds for control groups alone, which a server is seldom given. So one thread
looks while calls run. It does not see what comes and goes between two looks, nor the kernel's own memory (buffers of
pipes and sockets); scratch files have a limit of their own.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

LOOK_S = 0.05
REST = 10  # times as long as looking took: on a machine with thousands of processes it is looked less often
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") >> 10
_PARENT, _RESIDENT = 1, 21  # of /proc/<pid>/stat, behind the name
_SHARES = (b"Pss:", b"SwapPss:")


@dataclass
class Held:
    """A call that is looked at. `root`: the process whose descendants are counted."""

    root: int
    limit_mb: int
    exceeded: bool = False


class _Watch:
    """One a server process; its thread begins with the first call."""

    def __init__(self) -> None:
        self.calls: list[Held] = []
        self.changed = threading.Condition()
        self.begun = False

    def add(self, call: Held) -> None:
        with self.changed:
            self.calls.append(call)
            if not self.begun:
                self.begun = True
                threading.Thread(target=self._run, name="sandbox-memory", daemon=True).start()
            self.changed.notify()

    def remove(self, call: Held) -> None:
        with self.changed:
            self.calls.remove(call)

    def _run(self) -> None:
        while True:
            with self.changed:
                while not self.calls:
                    self.changed.wait()
            time.sleep(LOOK_S)  # most calls have ended by then
            with self.changed:
                calls = list(self.calls)
            began = time.monotonic()
            if calls:
                _look(calls)
            time.sleep(REST * (time.monotonic() - began))


_watch = _Watch()
os.register_at_fork(after_in_child=_watch.__init__)  # type: ignore[misc]  # the child of a fork has no such thread


@contextmanager
def held(root: int, limit_mb: int) -> Iterator[Held]:
    """While it lasts, all that `root` started is ended as soon as it takes more."""
    call = Held(root, limit_mb)
    _watch.add(call)
    try:
        yield call
    finally:
        _watch.remove(call)


def _look(calls: list[Held]) -> None:
    children, resident = _processes()
    for call in calls:
        below = _descendants(children, call.root)
        if sum(resident[pid] for pid in below) > call.limit_mb << 10 and _shares(below, resident) > call.limit_mb << 10:
            call.exceeded = True
            for pid in below[:1]:  # the first of its name space: with it end all others
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _processes() -> tuple[dict[int, list[int]], dict[int, int]]:
    """Of the whole machine: who started which, and how many kB each has, counting what it shares as its own."""
    children, resident = defaultdict(list), defaultdict(int)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                fields = file.read(4096).rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        children[int(fields[_PARENT])].append(int(name))
        resident[int(name)] = int(fields[_RESIDENT]) * _PAGE_KB
    return children, resident


def _descendants(children: dict[int, list[int]], root: int) -> list[int]:
    """Those who started others before these. One whose parent has ended is a child of the first in its name space."""
    found = list(children.get(root, ()))
    for pid in found:
        found += children.get(pid, ())
    return found


def _shares(pids: list[int], resident: dict[int, int]) -> int:
    """In kB, what is shared counted once, with what was swapped out; all that it has, of a process that cannot be
    looked into."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith(_SHARES))
        except PermissionError:
            total += resident[pid]
        except OSError:
            pass  # it has ended meanwhile
    return total
