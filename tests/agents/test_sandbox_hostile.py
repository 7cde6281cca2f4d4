"""Hostile tools: each is contained, this process is unharmed, and the model is told."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agents.sandbox.base import Call, Limits, Outcome
from agents.sandbox.local import LocalSandbox, Policy

LIMITS = Limits(wall_s=10, cpu_s=1, memory_mb=128, file_mb=8, scratch_mb=16, open_files=64, processes=8)
PROJECT = str(Path(__file__).resolve().parents[2])


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSandbox]:
    found = LocalSandbox(Policy(tmp_path_factory.mktemp("sandbox"), LIMITS))
    assert found.isolation().isolated, found.isolation()
    yield found
    found.close()


def run(sandbox: LocalSandbox, body: str, **args: object) -> Outcome:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    names = ", ".join(args)
    return sandbox.run(Call(source=f"import os, sys, socket\ndef tool({names}):\n{lines}\n", args=args))


REFUSED = {
    "the project's files": f"return open({PROJECT + '/manage.py'!r}).read()",
    "the machine's passwords": "return open('/etc/shadow').read()",
    "writing into the root": "open('/x', 'w')",
    "writing into the libraries": "open('/usr/lib/x', 'w')",
    "writing into Python itself": "open(os.__file__, 'a')",
    "a symlink out of the scratch folder": "os.symlink('/etc/shadow', '/tmp/l')\nreturn open('/tmp/l').read()",
    "a symlink to write through": "os.symlink('/etc/passwd', '/tmp/l')\nopen('/tmp/l', 'w')",
    "the root by way of a process": f"return os.listdir('/proc/1/root/../..{PROJECT}')",
    "devices": "os.mknod('/tmp/disk', 0o60600, os.makedev(254, 0))\nopen('/tmp/disk', 'rb')",
    "more rights": "os.setuid(0)",
    "another root": "os.chroot('/tmp')",
    "a link-local address": "socket.create_connection(('169.254.169.254', 80), 2)",
    "a public address": "socket.create_connection(('1.1.1.1', 443), 2)",
    "a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))",
    "the host of a virtual machine": "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "raw packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "the kernel's ciphers": "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "files that no limit counts": "os.memfd_create('x')",
    "every descriptor": "kept = [open('/dev/null') for _ in range(1000)]",
    "processes without end": "while True:\n    os.fork()",
    "memory without end": "kept = []\nwhile True:\n    kept.append(bytearray(1 << 24))",
    "a file without end": "f = open('/tmp/f', 'wb')\nwhile True:\n    f.write(bytes(1 << 20))",
    "the scratch folder filled": "for n in range(99):\n    open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))",
    "leaving": "sys.exit(0)",
    "an error that cannot be told": ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tool_is_refused(sandbox: LocalSandbox, name: str) -> None:
    failure = run(sandbox, REFUSED[name]).failure
    assert failure is not None
    # Which limit such processes meet first, that of their number or that of their time, is chance.
    also = {"crashed"} if name == "processes without end" else set()
    assert failure.kind in {"exception", *also}, failure
    assert failure.message


NAMES = ("mount", "unshare", "setns", "ptrace", "bpf", "keyctl", "io_uring")
NUMBERS = {
    "x86_64": (165, 272, 308, 101, 321, 250, 425),
    "aarch64": (40, 97, 268, 117, 280, 219, 425),
}
SYSTEM_CALLS = dict(zip(NAMES, NUMBERS[os.uname().machine], strict=True))


def test_the_kernels_dangerous_calls_are_forbidden(sandbox: LocalSandbox) -> None:
    body = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "return {name: (libc.syscall(n, 0, 0, 0, 0, 0), ctypes.get_errno()) for name, n in numbers.items()}"
    )
    assert run(sandbox, body, numbers=SYSTEM_CALLS).value == {name: [-1, 1] for name in SYSTEM_CALLS}


def test_nothing_of_the_servers_environment_is_in_reach(sandbox: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "tell-nobody")
    body = (
        "seen = [str(dict(os.environ))]\n"
        "for name in os.listdir('/proc'):\n"
        "    if name.isdigit():\n"
        "        seen += [open(f'/proc/{name}/{file}', 'rb').read().decode() for file in ('environ', 'cmdline')]\n"
        "return seen"
    )
    seen = run(sandbox, body).value
    assert len(seen) == 3  # its own process, and no other is in sight
    assert "tell-nobody" not in str(seen)
    assert "DJANGO" not in str(seen)


def test_what_listens_on_this_machine_is_not_in_reach(sandbox: LocalSandbox) -> None:
    name = f"\0perennial-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(name)
        local.listen()
        body = "socket.create_connection(('127.0.0.1', port), 2)"
        assert "unreachable" in str(run(sandbox, body, port=server.getsockname()[1]).failure)
        assert "refused" in str(run(sandbox, "socket.socket(socket.AF_UNIX).connect(name)", name=name).failure)


def test_killing_all_it_can_see_kills_nobody_else(sandbox: LocalSandbox) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        body = (
            "for pid in (os.getppid(), -1, bystander, server):\n"
            "    try:\n        os.kill(pid, 9)\n    except (OSError, OverflowError):\n        pass\n"
            "return 'tried'"
        )
        outcome = run(sandbox, body, bystander=bystander.pid, server=os.getpid())
        assert bystander.poll() is None
        bystander.kill()
    assert outcome.value == "tried" or outcome.failure


def test_what_it_leaves_running_ends_with_it(sandbox: LocalSandbox) -> None:
    body = (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        os.execv('/bin/sleep', ['sleep', '4242.17'])\n    os._exit(0)\n"
        "import time\ntime.sleep(0.2)\nreturn 1"
    )
    assert run(sandbox, body).value == 1
    assert b"4242.17" not in b"".join(_command_lines())


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            yield path.read_bytes()


@pytest.mark.parametrize(
    ("body", "kind", "word"),
    [
        ("while True:\n    pass", "timeout", "processor"),
        ("while True:\n    print('x' * 100000)", "output", "printed"),
        ("os._exit(0)", "crashed", "exit code 0"),
        ("import ctypes\nctypes.string_at(0)", "crashed", "signal 11"),
        ("return 'x' * 5_000_000", "bad_return", "5000002"),
        ("deep = []\nfor _ in range(100000):\n    deep = [deep]\nreturn deep", "bad_return", "RecursionError"),
        ("return float('nan')", "bad_return", "JSON"),
        (
            "for fd in range(3, 4096):\n    try:\n        os.write(fd, b'!!')\n    except OSError:\n        pass",
            "crashed",
            "",
        ),
        ("os.closerange(0, 4096)", "crashed", ""),
    ],
    ids=["loop", "output", "exit", "segfault", "huge", "deep", "nan", "forged", "closed"],
)
def test_the_model_is_told_how_it_ended(sandbox: LocalSandbox, body: str, kind: str, word: str) -> None:
    failure = run(sandbox, body).failure
    assert failure is not None
    assert failure.kind == kind, failure
    assert word in failure.message


def test_memory_is_limited_in_sum_whoever_of_its_processes_holds_it(sandbox: LocalSandbox) -> None:
    body = (
        "import time\nfor _ in range(4):\n    if os.fork() == 0:\n        if os.fork() == 0:\n"
        "            os.setsid()\n            kept = b'x' * (48 << 20)\n            time.sleep(60)\n"
        "        os._exit(0)\n    os.wait()\ntime.sleep(60)"
    )
    failure = run(sandbox, body).failure
    assert failure is not None
    assert (failure.kind, "128 MB of memory in all" in failure.message) == ("memory", True)
    # What they share is counted once.
    body = (
        "import time\nkept = b'x' * (48 << 20)\nfor _ in range(5):\n    if os.fork() == 0:\n        time.sleep(60)\n"
        "time.sleep(0.5)\nreturn 'still here'"
    )
    assert run(sandbox, body).value == "still here"


def test_a_pickle_is_text_and_is_never_opened(sandbox: LocalSandbox, tmp_path: Path) -> None:
    body = f"class P:\n    def __reduce__(self):\n        return os.mkdir, ({str(tmp_path / 'owned')!r},)\nreturn P()"
    assert "P object" in run(sandbox, body).value
    assert list(tmp_path.iterdir()) == []


def test_one_call_sees_nothing_of_the_one_before(sandbox: LocalSandbox) -> None:
    assert run(sandbox, "open('/tmp/left', 'w').write('x')\nreturn os.listdir('/tmp')").value == ["left"]
    assert run(sandbox, "return os.listdir('/tmp')").value == []
