"""Everything at once, on one machine: the parts, a model, both databases migrated, the web server and the workers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config import env as environment
from stack.addresses import started_at
from stack.children import age
from stack.errors import StackError
from stack.group import Group
from stack.model import Choice, LocalModel, Wishes
from stack.parts import Stack
from stack.plan import Plan
from stack.ports import bindable
from stack.terminal import Terminal

READY_SECONDS = 60
# In the order of starting; stopped in reverse, so that the shipper still carries what the worker did last.
SERVICES = (
    ("shipper", ["shipper"]),
    ("worker", ["celery", "worker"]),
    ("beat", ["celery", "beat"]),
    ("web", ["serve"]),
)


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop after the demo conversation")
        parser.add_argument("--model", default="", help="scripted, a name of stack/models.toml, or provider/model")
        parser.add_argument("--cache", default="", help="where model files are kept (default: in the data directory)")
        parser.add_argument("--no-demo", action="store_true", help="start everything, talk to nobody")

    def handle(self, *args: Any, **options: Any) -> None:
        run = Run(environment.Env(), Terminal(), options)
        with _interruptible():
            try:
                run.start()
                run.demo()
                if not options["once"] and run.owner:
                    run.wait()
            except KeyboardInterrupt:
                run.terminal.say()
            except StackError as error:
                run.terminal.failed(str(error))
                raise CommandError("It did not start.") from None
            finally:
                run.stop()


class Run:
    """One `manage.py up`, from its first line to its last."""

    def __init__(self, env: environment.Env, terminal: Terminal, options: dict[str, Any]) -> None:
        self.env = env
        self.terminal = terminal
        self.options = options
        self.data_dir = env.data_dir.resolve()
        self.logs = self.data_dir / "logs"
        self.cleanup = ExitStack()
        self.owner = True
        self.giving_up = threading.Event()
        self.child_env: dict[str, str] = {}
        self.group = Group(self.data_dir / "processes", self.logs)
        self.credentials: dict[str, Any] = {}

    def start(self) -> None:
        self.terminal.say(self.terminal.paint("Perennial", "1"))
        parts = self._start_parts()
        self.child_env = environment.inherited(
            DATA_DIR=str(self.data_dir),
            DATABASE_URL=parts.addresses.database_url,
            REDIS_URL=parts.addresses.redis_url,
            CLICKHOUSE_URL=parts.addresses.clickhouse_url,
            PYTHONUNBUFFERED="1",
        )
        self.owner = parts.owner
        if not self.owner:
            self.terminal.note("Perennial already runs here; `make down` stops it.")
            self.credentials = self._bootstrap()
            return
        self._note_pid()
        if not bindable(self.env.port):
            raise StackError(f"Port {self.env.port} is taken. Set another: PORT={self.env.port + 1} make up")
        with ThreadPoolExecutor(max_workers=4) as pool, self._giving_up_at_once():
            model = pool.submit(self._choose_model)
            migrated = pool.submit(self._migrate, parts)
            choice, embedding_dir = model.result()
            migrated.result()
            self.child_env.update(choice.env)
            if embedding_dir:
                self.child_env["LOCAL_EMBEDDING_DIR"] = embedding_dir
            parts.publish(embedding_dir=embedding_dir, **_as_addresses(choice))
            bootstrapped = pool.submit(self._bootstrap)
            self._start_services()
            self.credentials = bootstrapped.result()
        self.terminal.done(f"ready {age(os.getpid()):.1f} s after it was asked for")

    @contextmanager
    def _giving_up_at_once(self) -> Iterator[None]:
        """Ctrl-C must not wait for the end of a download."""
        try:
            yield
        except BaseException:
            self.giving_up.set()
            raise

    def _progress(self, title: str, there: int, all_: int) -> None:
        if self.giving_up.is_set():
            raise StackError("given up")
        self.terminal.progress(title, there, all_)

    def demo(self) -> None:
        if not self.options["no_demo"]:
            self.terminal.say()
            self._converse()
        self.terminal.say()
        self.terminal.say(_how_to_go_on(self.env, self.credentials))
        self.terminal.say()

    def wait(self) -> None:
        """Until Ctrl-C, `make down`, or a process that ends by itself."""
        self.terminal.say("Ctrl-C stops everything. Logs: " + str(self.logs))
        self.group.follow(self.terminal.line)
        while True:
            self._check_services()
            time.sleep(0.5)

    def stop(self) -> None:
        with _uninterruptible():
            if self.group.children:
                with self.terminal.step("stopped"):
                    self.group.stop()
                    self.cleanup.close()
            else:
                self.cleanup.close()

    def _converse(self) -> None:
        with subprocess.Popen(self._manage("converse"), env=self.child_env, cwd=environment.ROOT) as talk:
            while talk.poll() is None:
                if self.group.ended():
                    talk.terminate()
                time.sleep(0.05)
        self._check_services()
        if talk.returncode != 0:
            raise StackError(f"The demo conversation failed; the lines above and {self.logs} say why.")

    def _check_services(self) -> None:
        if gone := self.group.ended():
            raise StackError(f"{gone.program.name} ended by itself. {gone.last_words(20)}")

    def _start_parts(self) -> Stack:
        given = {
            "DATABASE_URL": self.env.database_url,
            "REDIS_URL": self.env.redis_url,
            "CLICKHOUSE_URL": self.env.clickhouse_url,
        }
        parts = Stack(self.data_dir, given, self.terminal.done)
        self.cleanup.callback(parts.stop)
        parts.start()
        return parts

    def _note_pid(self) -> None:
        pid_file = self.data_dir / "up.pid"
        pid_file.write_text(f"{os.getpid()} {started_at(os.getpid())}")
        self.cleanup.callback(lambda: pid_file.unlink(missing_ok=True))

    def _choose_model(self) -> tuple[Choice, str]:
        began = time.monotonic()
        cache = Path(self.options["cache"] or self.data_dir / "models").expanduser()
        local = LocalModel(self.data_dir / "model", cache, self.logs, self.terminal.note, self._progress)
        self.cleanup.callback(local.stop)
        provided = [entry["name"] for entry in environment.base_providers(self.env)]
        provider = next((name for name in provided if name not in {"scripted", "minilm"}), "")
        wishes = Wishes(self.options["model"] or self.env.default_model, provider)
        choice = local.choose(wishes)
        self.terminal.done(f"model: {choice.said}", time.monotonic() - began)
        return choice, self.env.local_embedding_dir or local.fetch_embedding(wishes)

    def _migrate(self, parts: Stack) -> None:
        """Both databases, side by side; skipped where the same migrations already ran on the same embedded parts."""
        plan = Plan(environment.ROOT, parts)
        if plan.done():
            return
        with self.terminal.step("both databases migrated"), ThreadPoolExecutor() as pool:
            list(pool.map(self._run, (["migrate", "-v", "0"], ["migrate_telemetry"])))
        plan.mark()

    def _bootstrap(self) -> dict[str, Any]:
        """The last line it prints is JSON: how to log in."""
        lines = self._run(["bootstrap"]).strip().splitlines()
        found: dict[str, Any] = json.loads(lines[-1])
        return found

    def _start_services(self) -> None:
        with self.terminal.step("web server, worker, beat and shipper"):
            for name, arguments in SERVICES:
                web = self.group.start(name, self._manage(*arguments), self.child_env, environment.ROOT)
            web.wait_until(lambda: _healthy(self.env.port) or self.group.ended() is not None, READY_SECONDS)
            self._check_services()

    def _manage(self, *arguments: str) -> list[str]:
        return [sys.executable, str(environment.ROOT / "manage.py"), *arguments]

    def _run(self, arguments: list[str]) -> str:
        done = subprocess.run(
            self._manage(*arguments),
            env=self.child_env,
            cwd=environment.ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        log = self.logs / f"{arguments[0]}.log"
        log.write_text(done.stdout + done.stderr if arguments[0] != "bootstrap" else done.stderr)
        if done.returncode != 0:
            last = "\n".join(done.stderr.rstrip().splitlines()[-5:])
            raise StackError(f"`manage.py {' '.join(arguments)}` failed; {log} has it all. Its end:\n{last}")
        return done.stdout


def _as_addresses(choice: Choice) -> dict[str, str]:
    names = {"LOCAL_MODEL_URL": "model_base_url", "LOCAL_MODEL_KEY": "model_key", "LOCAL_MODEL_NAME": "model_name"}
    return {names[name]: value for name, value in choice.env.items() if name in names}


def _healthy(port: int) -> bool:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        link.request("GET", "/v1/health/")
        return link.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()


def _how_to_go_on(env: environment.Env, credentials: dict[str, Any]) -> str:
    url = f"http://{'localhost' if env.host in {'0.0.0.0', '127.0.0.1'} else env.host}:{env.port}"
    lines = [
        f"  admin     {url}/admin/",
        f"  log in    {credentials.get('email', '')}  {credentials.get('password', '')}",
        f"  API       {url}/v1   (docs: {url}/v1/docs)",
        f"  API key   {credentials.get('api_key', '')}",
        "",
        "  from letta_client import Letta",
        f'  client = Letta(base_url="{url}", api_key="{credentials.get("api_key", "")}")',
        f'  print(client.agents.messages.create("{credentials.get("agent_id", "")}", input="Hello!").messages)',
    ]
    return "\n".join(lines)


@contextmanager
def _interruptible() -> Iterator[None]:
    """`make down` and a closed terminal stop things as Ctrl-C does."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with _handlers(interrupt, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def _uninterruptible() -> Iterator[None]:
    """A second Ctrl-C must not leave half of it running."""
    with _handlers(lambda *_: None, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def _handlers(handler: Callable[..., None], *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            with contextlib.suppress(TypeError):  # a handler that was not set from Python
                signal.signal(number, old)
