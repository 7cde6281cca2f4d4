"""The processes of `manage.py up`: started, watched, followed, stopped."""

import io
import sys
import time
from pathlib import Path

import pytest

from stack.children import leftover
from stack.errors import StackError
from stack.group import Group
from stack.terminal import Terminal

ENV = {"PATH": "/usr/bin:/bin"}


def start(group: Group, name: str, script: str) -> Path:
    group.start(name, [sys.executable, "-c", script], ENV, group.folder)
    return group.logs / f"{name}.log"


def wait_for(true, seconds=10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def test_processes_stop_in_reverse_order_each_having_its_say(tmp_path: Path) -> None:
    group = Group(tmp_path / "run", tmp_path / "logs")
    order = tmp_path / "order"
    script = (
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(open({order!r}, 'a').write('{name} ') * 0))\n"
    )
    script += "print('here', flush=True)\ntime.sleep(600)"
    logs = [start(group, name, script.format(order=str(order), name=name)) for name in ("shipper", "worker", "web")]
    wait_for(lambda: all(log.exists() and "here" in log.read_text() for log in logs))
    assert group.ended() is None
    group.stop()
    assert order.read_text() == "web worker shipper "
    assert list((tmp_path / "run").iterdir()) == []


def test_a_process_that_ends_by_itself_is_noticed_with_its_last_words(tmp_path: Path) -> None:
    group = Group(tmp_path / "run", tmp_path / "logs")
    start(group, "worker", "raise SystemExit('no broker')")
    wait_for(lambda: group.ended() is not None)
    gone = group.ended()
    assert gone is not None
    assert "no broker" in gone.last_words()
    with pytest.raises(StackError, match="worker ended before it was ready"):
        gone.wait_until(lambda: False)
    group.stop()


def test_the_next_group_ends_what_a_lost_one_left_running(tmp_path: Path) -> None:
    lost = Group(tmp_path / "run", tmp_path / "logs")
    start(lost, "worker", "import time; time.sleep(600)")
    pid = leftover(tmp_path / "run" / "worker.pid")
    assert pid is not None
    again = Group(tmp_path / "run", tmp_path / "logs")
    start(again, "worker", "import time; time.sleep(600)")
    lost_process = lost.children[0].process
    assert lost_process is not None
    assert lost_process.wait(10) != 0
    assert leftover(tmp_path / "run" / "worker.pid") not in (None, pid)
    again.stop()


def test_a_pid_file_of_another_life_of_that_pid_ends_nobody(tmp_path: Path) -> None:
    group = Group(tmp_path / "run", tmp_path / "logs")
    log = start(group, "worker", "import time; print('here', flush=True); time.sleep(600)")
    wait_for(lambda: "here" in log.read_text())
    pid_file = tmp_path / "run" / "worker.pid"
    pid = pid_file.read_text().split()[0]
    pid_file.write_text(f"{pid} 1")
    assert leftover(pid_file) is None
    group.stop()


def test_new_log_lines_are_followed_under_their_processs_name(tmp_path: Path) -> None:
    group = Group(tmp_path / "run", tmp_path / "logs")
    log = start(
        group,
        "web",
        "import time; print('before', flush=True); time.sleep(1); print('after', flush=True); time.sleep(600)",
    )
    wait_for(lambda: "before" in log.read_text())
    out = io.StringIO()
    group.follow(Terminal(out).line)
    wait_for(lambda: "after" in out.getvalue())
    group.stop()
    assert out.getvalue() == "     web | after\n"


def test_progress_in_a_log_is_told_by_quarters() -> None:
    out = io.StringIO()
    terminal = Terminal(out)
    for there in range(101):
        terminal.progress("Tiny", there, 100)
    assert [line.split(": ")[1] for line in out.getvalue().splitlines()] == [
        "25 of 100 MB",
        "50 of 100 MB",
        "75 of 100 MB",
        "100 of 100 MB",
    ]
