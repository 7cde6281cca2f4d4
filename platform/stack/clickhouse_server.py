"""The side process that is the ClickHouse server (`python -P clickhouse_server.py HOME USER HTTP_PORT`).

chdb-core >= 26.9 links `clickhouse-local`, which can `SYSTEM START LISTEN`. The extension's module-level `query()` runs
that program, and it reads config.xml from the current directory: so one query opens the listeners and then sleeps for
ever. Killing that query over HTTP ends the engine in order. None of this is documented by chDB: the version is pinned.
"""

import http.client
import importlib.machinery
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType

SERVE = (
    "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP;"
    "SELECT sleepEachRow(0.5) FROM system.numbers FORMAT Null SETTINGS max_block_size=1, max_execution_time=0"
)
MISSING = (
    "no CLICKHOUSE_URL is set and the wheel chdb-core is not installed here. "
    "Set CLICKHOUSE_URL, or run: pip install --no-deps -r requirements-embedded.txt"
)


def load_engine() -> ModuleType:
    """The extension without its package, whose import would open an engine of its own."""
    package = importlib.util.find_spec("chdb")
    if package is None or not package.submodule_search_locations:
        sys.exit(MISSING)
    base = Path(package.submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("_chdb", base / "_chdb.abi3.so")
    if spec is None or spec.loader is None:
        sys.exit(MISSING)
    with _inside(base):
        engine = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(engine)
    return engine


@contextmanager
def _inside(base: Path) -> Iterator[None]:
    """The extension looks for its sibling libraries in the current directory and on the path."""
    before = Path.cwd()
    os.chdir(base)
    sys.path.insert(0, str(base))
    try:
        yield
    finally:
        sys.path.remove(str(base))
        os.chdir(before)


class Server:
    def __init__(self, home: Path, user: str, http_port: int) -> None:
        self.home = home
        self.user = user
        self.http_port = http_port
        self.stopping = threading.Event()
        self.failure = ""

    def run(self) -> int:
        engine = load_engine()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        serving = threading.Thread(target=self._serve, args=(engine,), daemon=True)
        serving.start()
        while not self.stopping.wait(1):
            pass
        if serving.is_alive():
            self._kill_own_query()
        serving.join(30)
        if self.failure and "QUERY_WAS_CANCELLED" not in self.failure:
            print(self.failure, flush=True)  # noqa: T201
            return 1
        return 0

    def _serve(self, engine: ModuleType) -> None:
        try:
            result = engine.query(SERVE, "TabSeparated", path=str(self.home / "data"))
            self.failure = result.error_message() if result.has_error() else ""
        except RuntimeError as error:
            self.failure = str(error)
        finally:
            self.stopping.set()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping.set()

    def _kill_own_query(self) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        login = {"X-ClickHouse-User": self.user, "X-ClickHouse-Key": (self.home / "password").read_text()}
        try:
            link.request("POST", "/", "KILL QUERY WHERE user='' ASYNC", login)
            link.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            print(f"stopping without a farewell: {error}", flush=True)  # noqa: T201
        finally:
            link.close()


def main() -> None:
    home, user, http_port = sys.argv[1:4]
    code = Server(Path(home), user, int(http_port)).run()
    sys.stdout.flush()
    # The engine's own threads do not survive an interpreter that shuts down around them.
    os._exit(code)


if __name__ == "__main__":
    main()
