"""A whole installation for end-to-end tests: web server, worker, beat, shipper and a mock of the model vendors.

It has databases of its own on the test run's PostgreSQL and Redis, and a ClickHouse of its own, so that a test may stop
it. Leases are short, so that a run whose worker was killed goes on after two seconds.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import clickhouse_driver
import psycopg
from letta_client import Letta

from stack.children import Child, Program
from stack.clickhouse import ClickHouse
from stack.ports import LOOPBACK, free_port
from tests.support.parts import ROOT, TestParts

MODEL = "openai/gpt-4o-mini"
EMBEDDING = "openai/text-embedding-3-small"
REDIS_OFFSET = 32  # the databases below are those of the workers' other tests
READY_S = 60.0
# The commands of an installation, in one process: three would import everything three times.
PREPARE = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("migrate_telemetry")
call_command("bootstrap")
"""
SERVICES = {"worker": ["celery", "worker"], "beat": ["celery", "beat"], "shipper": ["shipper"], "web": ["serve"]}


def mock_script() -> Path:
    """The mock vendor is a tool that several repositories share: it lies beside this one, in `shared/tools`."""
    found = (parent / "shared" / "tools" / "mock_llm.py" for parent in ROOT.parents)
    script = next((path for path in found if path.exists()), None)
    assert script is not None, f"tools/mock_llm.py was not found in a folder `shared` beside or above {ROOT}"
    return script


def wait_for(ready: Callable[[], Any], seconds: float = READY_S, every: float = 0.05, what: str = "") -> Any:
    """What `ready` answers, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or ready}"
        time.sleep(every)
    return found


def get_json(url: str, body: Any = None) -> Any:
    """None while nobody answers well."""
    host, _, path = url.removeprefix("http://").partition("/")
    link = http.client.HTTPConnection(host, timeout=10)
    try:
        link.request("GET" if body is None else "POST", f"/{path}", None if body is None else json.dumps(body))
        reply = link.getresponse()
        return json.loads(reply.read()) if reply.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()


class Live:
    """`url`, `key`: how to call it. Processes are in `children`, by name; each can be killed and started again."""

    def __init__(self, parts: TestParts, worker: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="perennial-live-"))
        self.logs = self.home / "logs"
        self.logs.mkdir()
        self.name = f"perennial_live_{worker}"
        self.children: dict[str, Child] = {}
        self.database_url = _own_database(parts.database_url, self.name)
        redis_url, _, number = parts.redis_url.rpartition("/")
        self.redis_url = f"{redis_url}/{int(number) + REDIS_OFFSET}"
        self.clickhouse = ClickHouse(self.home / "clickhouse", self.logs, throwaway=True)
        self.clickhouse_url = ""
        self.mock_url = f"http://{LOOPBACK}:{free_port(self.home / 'mock.port')}"
        self.port = free_port(self.home / "web.port")
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.key = ""
        self.credentials: dict[str, str] = {}
        self.extra_environment: dict[str, str] = {}
        self.clients: list[Letta] = []

    def start(self) -> None:
        self._spawn("mock", [str(mock_script()), "--port", self.mock_url.rpartition(":")[2]])
        self.clickhouse_url = self.clickhouse.start()
        self.start_service("web")  # it asks nobody anything until it is asked
        self.credentials = json.loads(self.manage("shell", "-v", "0", "-c", PREPARE).strip().splitlines()[-1])
        self.key = self.credentials["api_key"]
        for name in SERVICES:
            if name != "web":
                self.start_service(name)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        wait_for(lambda: get_json(f"{self.mock_url}/health"), what="the mock vendor")
        wait_for(lambda: self._look() or get_json(f"{self.url}/v1/health/"), what="the web server")
        answer = self.client().agents.create(model=MODEL, name="warm", include_base_tools=False)
        self.client().agents.messages.create(answer.id, input="[[say warm]]")

    def _look(self) -> None:
        for child in self.children.values():
            assert child.alive(), f"{child.program.name} ended. {child.last_words(30)}"

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "DATA_DIR": str(self.home),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "CLICKHOUSE_URL": self.clickhouse_url,
            "PORT": str(self.port),
            "OPENAI_API_KEY": "test",
            "OPENAI_BASE_URL": f"{self.mock_url}/v1",
            "ANTHROPIC_API_KEY": "test",
            "ANTHROPIC_BASE_URL": self.mock_url,
            "MCP_ALLOWED_HOSTS": LOOPBACK,
            "RUN_LEASE_S": "2",
            "SWEEP_INTERVAL_S": "1",
            "DEFAULT_MODEL": MODEL,
            "PYTHONUNBUFFERED": "1",
            "C_FORCE_ROOT": "1",
            "PYTHONWARNINGS": "ignore",
            **self.extra_environment,
        }

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"manage.py {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def _spawn(self, name: str, arguments: list[str]) -> Child:
        argv = [sys.executable, *arguments]
        program = Program(name, argv, self.home / f"{name}.pid", self.logs / f"{name}.log", ROOT, self.environment())
        child = self.children[name] = Child(program)
        child.start()
        return child

    def start_service(self, name: str) -> None:
        self._spawn(name, [str(ROOT / "manage.py"), *SERVICES[name]])

    def kill(self, name: str) -> None:
        """As a machine that loses its power: kill -9."""
        child = self.children[name]
        assert child.process is not None
        child.process.kill()
        child.process.wait()

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda child: child.stop(3), self.children.values()))
        self.clickhouse.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def log_sizes(self) -> dict[Path, int]:
        return {log: log.stat().st_size for log in self.logs.glob("*.log")}

    def client(self, **options: Any) -> Letta:
        """The SDK as a user makes it, but that it does not try again by itself.

        Kept until the end: one that is forgotten open fails whichever test the garbage collector wakes up in.
        """
        client = Letta(base_url=self.url, api_key=self.key, **{"max_retries": 0, **options})
        self.clients.append(client)
        return client

    def mock(self, path: str, body: Any = None) -> Any:
        """A control call to the mock vendor: `__config`, `__stats`, `__log`."""
        answer = get_json(f"{self.mock_url}/{path}", body)
        assert answer is not None, f"the mock vendor did not answer {path}"
        return answer

    def calls_seen(self) -> int:
        """How many calls of models the vendor has answered, now that it answers none."""
        stats = wait_for(lambda: (found := self.mock("__stats"))["open"] == 0 and found, what="no call is open")
        return int(stats["llm_calls"])

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as link:
            found = link.execute(query, values)
            return found.fetchall() if found.description else []

    def traces(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """From ClickHouse; values stand in the query as %(name)s."""
        client = clickhouse_driver.Client.from_url(self.clickhouse_url)
        try:
            rows: list[tuple[Any, ...]] = client.execute(query, values)
            return rows
        finally:
            client.disconnect()


def _own_database(url: str, name: str) -> str:
    base, _, options = url.partition("?")
    own = f"{base.rpartition('/')[0]}/{name}?{options}"
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(f"DROP DATABASE IF EXISTS {name}")
        link.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(own, autocommit=True) as link:
        link.execute("CREATE EXTENSION vector")
    return own
