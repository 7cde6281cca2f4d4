"""`manage.py up`, as a newcomer runs it, on a data directory of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


class Installation:
    def __init__(self, home: Path) -> None:
        self.data_dir = home / "data"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "DATA_DIR": str(self.data_dir),
            "PORT": str(free_port(home / "port")),
        }
        self.log = home / "up.log"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(ROOT / "manage.py"), *arguments]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments), env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
        )

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(self.command(*arguments), env=self.env, cwd=ROOT, stdout=log, stderr=log)

    def wait_for(self, word: str, process: "subprocess.Popen[bytes]") -> str:
        deadline = time.monotonic() + 200
        while word not in (told := self.log.read_text()):
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.1)
        return told

    def pids(self) -> set[int]:
        found = [*self.data_dir.glob("*/pid"), *self.data_dir.glob("processes/*.pid")]
        return {int(path.read_text().split()[0]) for path in found}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    found = Installation(tmp_path)
    yield found
    found.run("down")


def test_one_command_shows_an_agent_that_learns_and_leaves_nothing_running(installation: Installation) -> None:
    first = installation.run("up", "--once", "--model", "scripted")
    assert first.returncode == 0, first.stdout + first.stderr
    for word in ("both databases migrated", "memory before  (empty)", "memory after", "Ada", "ClickHouse", "API key"):
        assert word in first.stdout, first.stdout
    assert "stopped" in first.stdout
    assert installation.pids() == set()

    # A second start keeps the data, and down, from another terminal, ends it.
    up = installation.start("up", "--model", "scripted", "--no-demo")
    told = installation.wait_for("Ctrl-C stops", up)
    assert "both databases migrated" not in told
    assert told.split("API key")[1].split()[0] == first.stdout.split("API key")[1].split()[0]
    running = installation.pids()
    assert len(running) == 7
    again = installation.run("up", "--no-demo")
    assert again.returncode == 0
    assert "already runs here" in again.stdout
    assert installation.pids() == running
    assert installation.run("down").returncode == 0
    assert up.wait(30) == 0
    assert not any(alive(pid) for pid in running)

    # A web server that dies ends the rest, with its last words.
    installation.log.unlink()
    up = installation.start("up", "--model", "scripted", "--no-demo")
    installation.wait_for("Ctrl-C stops", up)
    running = installation.pids()
    web = int((installation.data_dir / "processes" / "web.pid").read_text().split()[0])
    os.kill(web, signal.SIGKILL)
    assert up.wait(60) == 1
    assert "web ended by itself" in installation.log.read_text()
    assert not any(alive(pid) for pid in running)


def test_a_taken_port_is_named_with_the_mend(installation: Installation) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(installation.env["PORT"])))
        holder.listen()
        done = installation.run("up", "--once", "--model", "scripted")
    assert done.returncode == 1
    assert f"Port {installation.env['PORT']} is taken. Set another: PORT=" in done.stdout
    assert installation.pids() == set()
