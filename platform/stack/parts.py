"""The three parts as one: started together, their addresses written down, stopped in reverse order."""

import fcntl
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from stack import addresses
from stack.addresses import Addresses
from stack.clickhouse import ClickHouse
from stack.errors import StackError
from stack.postgres import Postgres
from stack.redis_part import Redis

ATTEMPTS = 3  # a port found free can be taken before the part listens on it


class Part(Protocol):
    name: str

    def start(self) -> str: ...

    def stop(self) -> None: ...


PARTS: dict[str, Callable[..., Part]] = {"DATABASE_URL": Postgres, "REDIS_URL": Redis, "CLICKHOUSE_URL": ClickHouse}


def _silent(line: str) -> None:
    return None


class Stack:
    """The parts of one data directory.

    Whoever holds the directory's lock owns its parts. A second stack of the same directory finds the lock taken, uses
    what runs there, and stops nothing. `given`: addresses the user set (DATABASE_URL, REDIS_URL, CLICKHOUSE_URL); they
    are used as they are. `throwaway`: for tests, durability is traded for speed.
    """

    def __init__(
        self,
        data_dir: Path,
        given: Mapping[str, str] | None = None,
        report: Callable[[str], None] = _silent,
        *,
        throwaway: bool = False,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.given = {name: url for name, url in (given or {}).items() if name in PARTS and url}
        self.report = report
        self.throwaway = throwaway
        self.addresses = Addresses()
        self._lock: int | None = None
        self._running: list[Part] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def owner(self) -> bool:
        return self._lock is not None

    def start(self) -> Addresses:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
        self._lock = _take(self.data_dir / "stack.lock")
        if self._lock is None:
            self.addresses = self._use_running()
            return self.addresses
        try:
            urls = self._start_parts()
        except BaseException:
            self.stop()
            raise
        console = next((part.console_url for part in self._running if isinstance(part, ClickHouse)), "")
        self.addresses = Addresses(urls["DATABASE_URL"], urls["REDIS_URL"], urls["CLICKHOUSE_URL"], console)
        addresses.write(self.data_dir, self.addresses)
        return self.addresses

    def stop(self) -> None:
        """Stops what this stack started, and only that."""
        if self._lock is None:
            return
        addresses.forget(self.data_dir)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda part: part.stop(), reversed(self._running)))
        self._running.clear()
        os.close(self._lock)
        self._lock = None

    def publish(self, **more: str) -> Addresses:
        """Adds what else answers (the model) to the addresses that other processes read."""
        self.addresses = replace(self.addresses, **more)
        if self.owner:
            addresses.write(self.data_dir, self.addresses)
        return self.addresses

    def _start_parts(self) -> dict[str, str]:
        with ThreadPoolExecutor(max_workers=len(PARTS)) as pool:
            waiting = {
                name: pool.submit(self._start_one, make) for name, make in PARTS.items() if name not in self.given
            }
        return self.given | {name: future.result() for name, future in waiting.items()}

    def _start_one(self, make: Callable[..., Part]) -> str:
        began = time.monotonic()
        part = make(self.data_dir / make.__name__.lower(), self.data_dir / "logs", throwaway=self.throwaway)
        self._running.append(part)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                url = part.start()
            except StackError:
                part.stop()
                if attempt == ATTEMPTS:
                    raise
            else:
                self.report(f"{part.name} ({time.monotonic() - began:.1f} s)")
                return url
        raise AssertionError("unreachable")

    def _use_running(self, seconds: float = 60) -> Addresses:
        deadline = time.monotonic() + seconds
        while (found := addresses.read(self.data_dir)) is None:
            if time.monotonic() > deadline:
                raise StackError(f"Another process holds {self.data_dir}/stack.lock and did not get its parts ready.")
            time.sleep(0.05)
        self.report("using the parts that already run")
        return replace(
            found,
            database_url=self.given.get("DATABASE_URL", found.database_url),
            redis_url=self.given.get("REDIS_URL", found.redis_url),
            clickhouse_url=self.given.get("CLICKHOUSE_URL", found.clickhouse_url),
        )


def _take(lock: Path) -> int | None:
    """The lock falls with its holder, however that ends."""
    handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
