"""One child process: started to die with its starter, known again by its pid file, stopped with patience."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from stack.addresses import started_at
from stack.errors import StackError

# Parts see none of the environment: no provider key, and no time zone but UTC.
BARE_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
LAUNCH = str(Path(__file__).with_name("launch.py"))

# The kernel's parent-death signal follows the *thread* that forked, so every child is forked by one thread that lives
# as long as this process.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stack-forker")


@dataclass(frozen=True)
class Program:
    """What to run. `user`: whom root becomes for it. `log`: a file, or None for a pipe that the starter reads."""

    name: str
    argv: Sequence[str]
    pid_file: Path
    log: Path | None = None
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=lambda: BARE_ENVIRONMENT)
    stop_signal: signal.Signals = signal.SIGTERM
    user: str = ""
    keep_reach: bool = False


@dataclass
class Child:
    program: Program
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Takes the place of a leftover of an earlier start, if one still runs."""
        end_leftover(self.program.pid_file, self.program.stop_signal)
        self.process = _forker.submit(self._spawn).result()
        self.program.pid_file.write_text(f"{self.process.pid} {started_at(self.process.pid)}")

    def _spawn(self) -> "subprocess.Popen[bytes]":
        program = self.program
        argv = [sys.executable, "-I", "-S", LAUNCH, str(int(program.stop_signal)), str(os.getpid())]
        argv += [program.user, "1" if program.keep_reach else "0", "--", *program.argv]
        with ExitStack() as opened:
            output = opened.enter_context(program.log.open("ab")) if program.log else subprocess.PIPE
            return subprocess.Popen(
                argv,
                cwd=program.cwd,
                env=program.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal reaches the starter alone: it stops the parts in its own order.
                start_new_session=True,
            )

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Polls quickly at first; a child that ends before it is ready is an error with the end of its log."""
        deadline = time.monotonic() + seconds
        pause = 0.01
        while not ready():
            if not self.alive():
                raise StackError(f"{self.program.name} ended before it was ready. {self.last_words()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.program.name} did not answer within {seconds:.0f} s. {self.last_words()}")
            time.sleep(pause)
            pause = min(pause * 1.3, 0.1)

    def last_words(self, lines: int = 8) -> str:
        log = self.program.log
        if log is None or not log.exists():
            return ""
        tail = log.read_text(errors="replace").splitlines()[-lines:]
        return f"The end of {log}:\n" + "\n".join(f"    {line}" for line in tail)

    def signal_stop(self) -> None:
        if self.process is not None and self.alive():
            self.process.send_signal(self.program.stop_signal)

    def stop(self, seconds: float = 15) -> None:
        if self.process is None:
            return
        self.signal_stop()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.program.pid_file.unlink(missing_ok=True)
        self.process = None


def age(pid: int) -> float:
    """Seconds since the process began, its interpreter's own start among them; 0 where the system does not say."""
    ticks = started_at(pid)
    if not ticks:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")


def leftover(pid_file: Path) -> int | None:
    """The pid of a child that an earlier, dead starter left running."""
    try:
        pid, _, start = pid_file.read_text().partition(" ")
    except OSError:
        return None
    running = started_at(int(pid)) if pid.isdigit() else ""
    return int(pid) if running and running == start else None


def end_leftover(pid_file: Path, stop_signal: signal.Signals, seconds: float = 15) -> None:
    pid = leftover(pid_file)
    deadline = time.monotonic() + seconds
    while pid is not None and leftover(pid_file) == pid and not _is_zombie(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, stop_signal if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(0.1)
    pid_file.unlink(missing_ok=True)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True
