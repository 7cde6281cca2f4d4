"""One set of real parts for a whole test run, shared by all its pytest-xdist workers.

The parts belong to a keeper, a process of its own: any worker may end first without taking them from the others. Every
user holds a shared lock on a file; the keeper stops the parts and removes the folder when nobody does.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from clickhouse_driver import Client

from stack import addresses
from stack.parts import Stack

ROOT = Path(__file__).resolve().parents[2]
USERS = "users.lock"


@dataclass(frozen=True, repr=False)
class TestParts:
    """One worker's own databases on the shared parts."""

    __test__ = False

    database_url: str
    redis_url: str
    clickhouse_url: str
    data_dir: Path


def start_test_parts(worker: str = "master", run: str = "") -> TestParts:
    """`worker`: "master" or xdist's "gw0" …; `run`: xdist's testrunuid. The parts end with the last process that asked.

    Waits until they answer (0.7 s for the first worker). PostgreSQL database, ClickHouse database and Redis database
    are this worker's alone; all three are empty, save for the extension `vector`.
    """
    home = _home(run)
    _hold(home)
    log = (home / "keeper.log").open("ab")
    with log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.support.parts", str(home)],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _keepers.append(keeper)
    found = _wait_for(home, keeper)
    number = int(worker.removeprefix("gw")) + 1 if worker.startswith("gw") else 0
    name = f"perennial_{worker}"
    return TestParts(
        _own_database(found.database_url, name),
        found.redis_url.removesuffix("/0") + f"/{number}",
        _own_traces(found.clickhouse_url, name),
        home,
    )


def _home(run: str) -> Path:
    seed = f"{ROOT}:{run or os.getpid()}:{os.geteuid()}"
    return Path(tempfile.gettempdir()) / f"perennial-tests-{hashlib.sha256(seed.encode()).hexdigest()[:12]}"


_held: list[int] = []
# Kept, because a keeper outlives its starter and Python warns of a Popen that is dropped while its process runs.
_keepers: list["subprocess.Popen[bytes]"] = []


def _hold(home: Path) -> None:
    """Again when a keeper that was just leaving took the folder away meanwhile."""
    while True:
        home.mkdir(parents=True, exist_ok=True)
        handle = os.open(home / USERS, os.O_CREAT | os.O_RDWR)
        fcntl.flock(handle, fcntl.LOCK_SH)
        try:
            if os.path.samestat(os.fstat(handle), (home / USERS).stat()):
                break
        except FileNotFoundError:
            pass
        os.close(handle)
    _held.append(handle)


def _wait_for(home: Path, keeper: "subprocess.Popen[bytes]", seconds: float = 60) -> addresses.Addresses:
    deadline = time.monotonic() + seconds
    while (found := addresses.read(home)) is None:
        if keeper.poll() not in (None, 0) or time.monotonic() > deadline:
            raise RuntimeError("the test parts did not start:\n" + (home / "keeper.log").read_text())
        time.sleep(0.02)
    return found


def _own_database(url: str, name: str) -> str:
    own = url.replace("@/perennial?", f"@/{name}?")
    with psycopg.connect(url.replace("@/perennial?", "@/postgres?"), autocommit=True) as link:
        if link.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return own
        link.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(own, autocommit=True) as link:
        link.execute("CREATE EXTENSION vector")
    return own


def _own_traces(url: str, name: str) -> str:
    client = Client.from_url(url)
    client.execute(f"CREATE DATABASE IF NOT EXISTS {name}")
    client.disconnect()
    return url.removesuffix("/perennial") + f"/{name}"


def _keep(home: Path) -> None:
    """Several workers start a keeper at once; all but the first find the stack's lock taken and leave."""
    stack = Stack(home, throwaway=True)
    stack.start()
    if not stack.owner:
        return
    users = os.open(home / USERS, os.O_RDWR)
    while not _nobody_holds(users):
        time.sleep(0.3)
    stack.stop()
    shutil.rmtree(home, ignore_errors=True)


def _nobody_holds(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def environment(parts: TestParts) -> Mapping[str, str]:
    """What a process of the project needs in its environment to use these parts."""
    return {
        "DATABASE_URL": parts.database_url,
        "REDIS_URL": parts.redis_url,
        "CLICKHOUSE_URL": parts.clickhouse_url,
        "DATA_DIR": str(parts.data_dir),
    }


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
