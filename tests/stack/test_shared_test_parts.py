"""The test suite's own set of parts: shared by its workers, gone with the last of them."""

import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys
sys.path[:0] = [{root!r}, {platform!r}]
from tests.support.parts import start_test_parts
parts = start_test_parts({worker!r}, {run!r})
print(parts.data_dir, parts.database_url, parts.redis_url, parts.clickhouse_url, flush=True)
sys.stdin.read()
"""


def start_worker(worker: str, run: str) -> "subprocess.Popen[str]":
    script = WORKER.format(root=str(ROOT), platform=str(ROOT / "platform"), worker=worker, run=run)
    return subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(worker: "subprocess.Popen[str]") -> None:
    worker.communicate(timeout=20)
    assert worker.returncode == 0


def test_workers_share_the_parts_with_a_database_each_and_the_last_one_ends_them() -> None:
    run = uuid4().hex
    workers = [start_worker(name, run) for name in ("gw0", "gw1")]
    told = [worker.stdout.readline().split() for worker in workers if worker.stdout]
    (home, *first), (same_home, *second) = told
    assert home == same_home
    for one, other in zip(first, second, strict=True):
        assert one != other
        assert one.partition("@")[2].split("/")[0] == other.partition("@")[2].split("/")[0]
    end(workers[0])
    time.sleep(1)
    assert Path(home, "stack.json").exists(), "the parts went with the first worker"
    end(workers[1])
    deadline = time.monotonic() + 20
    while Path(home).exists():
        assert time.monotonic() < deadline, "the parts outlived their last user"
        time.sleep(0.1)
