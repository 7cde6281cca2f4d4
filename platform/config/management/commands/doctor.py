"""Is everything there that Perennial needs? Each part and setting is tried; what fails is named with its mend."""

from __future__ import annotations

import json
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

FREE_MB = 1024
BACKLOG_MB = 256
WORKER_SECONDS = 2


@dataclass(frozen=True)
class Finding:
    ok: bool
    detail: str
    mend: str = ""


def good(detail: str) -> Finding:
    return Finding(True, detail)


def bad(detail: str, mend: str) -> Finding:
    return Finding(False, detail, mend)


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs: a list of checks")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = {name: check() for name, check in CHECKS.items()}
        if options["json"]:
            self.stdout.write(json.dumps([{"check": name, **asdict(found)} for name, found in findings.items()]))
        else:
            for name, found in findings.items():
                mark = self.style.SUCCESS("ok  ") if found.ok else self.style.ERROR("FAIL")
                self.stdout.write(f"{mark} {name:<12} {found.detail}")
                if found.mend:
                    self.stdout.write(f"     {'':<12} {found.mend}")
        if not all(found.ok for found in findings.values()):
            raise SystemExit(1)


def python() -> Finding:
    version = ".".join(str(number) for number in sys.version_info[:3])
    if sys.version_info[:2] != (3, 11):
        return bad(f"Python {version}", "Perennial runs on Python 3.11: make PYTHON=/path/to/python3.11 up")
    return good(f"Python {version}")


def checks() -> Finding:
    """Django's own checks, every room's among them."""
    serious = [message for message in run_checks() if message.is_serious()]
    if serious:
        first = serious[0]
        return bad(f"{len(serious)} wrong: {first.msg}", first.hint or "`manage.py check` lists all.")
    return good("every setting is usable")


def database() -> Finding:
    if not connection.settings_dict["HOST"]:
        return bad("no database is set", "Set DATABASE_URL, or start one: make up")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version')")
            (version,) = cursor.fetchone()
            cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
            vector = cursor.fetchone()
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return bad(f"PostgreSQL does not answer: {_line(error)}", "Is DATABASE_URL right, and the server up? (make up)")
    if pending:
        return bad(f"PostgreSQL {version}, {len(pending)} migrations not applied", "Run: manage.py migrate")
    if vector is None:
        return bad(f"PostgreSQL {version} without pgvector", "As its superuser: CREATE EXTENSION vector")
    if tuple(map(int, vector[0].split(".")[:2])) < (0, 8):
        return bad(f"pgvector {vector[0]}; 0.8 is needed", "Install it, then: ALTER EXTENSION vector UPDATE")
    return good(f"PostgreSQL {version}, pgvector {vector[0]}, every migration applied")


def redis_server() -> Finding:
    import redis

    if not settings.REDIS_URL:
        return bad("no Redis is set", "Set REDIS_URL, or start one: make up")
    try:
        with redis.from_url(settings.REDIS_URL, socket_connect_timeout=3) as client:
            info: Any = client.info()
    except redis.RedisError as error:
        return bad(f"Redis does not answer: {_line(error)}", "Is REDIS_URL right, and the server up? (make up)")
    version, policy = info["redis_version"], info.get("maxmemory_policy", "")
    if int(version.split(".")[0]) < 6:
        return bad(f"Redis {version}", "Redis 6.2 or newer is needed.")
    if policy not in {"noeviction", ""}:
        return bad(f"Redis {version} may drop keys ({policy})", "CONFIG SET maxmemory-policy noeviction")
    return good(f"Redis {version}, evicts nothing, {info['used_memory'] >> 20} MB used")


def clickhouse() -> Finding:
    from telemetry.client import TelemetryUnavailable
    from telemetry.migrate import pending

    if not settings.CLICKHOUSE_URL and "clickhouse" not in settings.PROVIDER_TRACE_BACKENDS:
        return good("none is set, and PROVIDER_TRACE_BACKENDS has none: no sums, no dashboards")
    if not settings.CLICKHOUSE_URL:
        return bad("no ClickHouse is set; traces wait in the spool", "Set CLICKHOUSE_URL, or start one: make up")
    try:
        missing = pending(settings.CLICKHOUSE_URL)
    except TelemetryUnavailable as error:
        return bad(_line(error.message), "Is CLICKHOUSE_URL right (native port), and the server up? (make up)")
    if missing:
        return bad(f"ClickHouse, {len(missing)} migrations not applied", "Run: manage.py migrate_telemetry")
    return good("ClickHouse answers, every migration applied")


def trace_backends() -> Finding:
    """Each is asked whether it takes traces, and how much waits for it."""
    from telemetry.backends.base import configured
    from telemetry.batches import Away
    from telemetry.spooled import megabytes_waiting

    try:
        backends = configured()
    except ImproperlyConfigured as error:
        return bad(_line(error), "`manage.py check` says what is wrong with it.")
    said, away = [], []
    for backend in backends:
        try:
            state = backend.probe()
        except Away as error:
            away.append(backend.name)
            state = f"takes none: {_line(error)}"
        waiting = megabytes_waiting(settings.TELEMETRY_SPOOL_DIR, backend.name)
        said.append(f"{backend.name} {state}" + (f" ({waiting} MB waiting)" if waiting else ""))
    if away:
        return bad("; ".join(said), f"Traces wait in the spool for {', '.join(away)}; the others go on.")
    return good("; ".join(said))


def masking() -> Finding:
    from telemetry.masking import scan

    if problem := scan.problem():
        return Finding(True, f"every rule is tried on every text, 20 times slower: {problem}", scan.MEND)
    return good("only rules that can find something are tried (hyperscan)")


def spool() -> Finding:
    folder = Path(settings.TELEMETRY_SPOOL_DIR)
    probe = folder / ".doctor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
        waiting = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 20
    except OSError as error:
        return bad(f"{folder}: {error.strerror}", "Set TELEMETRY_SPOOL_DIR to a folder this user can write.")
    if waiting > BACKLOG_MB:
        return bad(f"{waiting} MB of traces wait to be shipped", "Does the shipper run? manage.py shipper")
    return good(f"{folder}, {waiting} MB waiting")


def worker() -> Finding:
    from kombu.exceptions import OperationalError

    from config.celery import app

    try:
        answers = app.control.ping(timeout=WORKER_SECONDS, limit=1) if settings.REDIS_URL else []
    except (OperationalError, OSError) as error:
        return bad(f"workers cannot be asked: {_line(error)}", "Redis first, then: manage.py celery worker")
    if not answers:
        return bad("no worker answers", "Start one: manage.py celery worker (make up does it)")
    return good(", ".join(name for answer in answers for name in answer))


def keys() -> Finding:
    from core.secrets import decrypt, encrypt

    if not settings.ENCRYPTION_KEYS:
        return bad("no encryption key", "Set ENCRYPTION_KEYS=k1:<32 random characters or more>")
    if decrypt(encrypt("doctor")) != "doctor":
        return bad("what is encrypted does not decrypt", "Look at ENCRYPTION_KEYS: one id, one secret each.")
    return good(f"{len(settings.ENCRYPTION_KEYS)} encryption keys, the first one encrypts")


def provider() -> Finding:
    from providers.models import Provider

    names = [entry["name"] for entry in settings.BASE_PROVIDERS if entry["provider_type"] not in {"scripted", "minilm"}]
    try:
        own = Provider.objects.filter(enabled=True).count() if connection.settings_dict["HOST"] else 0
    except DatabaseError:
        own = 0
    if not names and not own:
        return bad("no model but the scripted one", "Set OPENAI_API_KEY or another provider's key, or: make up")
    return good(", ".join(names) or f"{own} keys of organizations")


def sandbox() -> Finding:
    """A process is walled in, to see whether it can be; a vendor is asked whether it knows us."""
    from agents.sandbox import configured
    from agents.sandbox.local import LocalSandbox

    for name in configured.others():
        other = configured.sandbox(name).isolation()
        if not other.isolated:
            return bad(f"tools that ask for {name} cannot run: {other.problem}", other.mend)
    backend = configured.sandbox()
    found, local = backend.isolation(), isinstance(backend, LocalSandbox)
    if found.isolated:
        return good(f"custom tools are isolated: {', '.join(found.held)}{_typescript() if local else ''}")
    if local and settings.SANDBOX_ALLOW_UNISOLATED:
        return bad(
            f"custom tools run UNISOLATED ({found.problem}), because SANDBOX_ALLOW_UNISOLATED is set", found.mend
        )
    return bad(f"custom tools are refused: {found.problem}", found.mend)


def _typescript() -> str:
    from agents.sandbox.node import Node
    from agents.sandbox.process import NotStarted

    try:
        return f"; those in TypeScript run in {Node(settings.SANDBOX_NODE).program()}"
    except NotStarted as error:
        return f"; {error}"


def disk() -> Finding:
    folder = settings.DATA_DIR
    free = shutil.disk_usage(folder if folder.exists() else folder.parent).free >> 20
    if free < FREE_MB:
        return bad(f"{free} MB free", f"Free some space on the disk of {folder}, or move it: DATA_DIR=/elsewhere")
    return good(f"{free >> 10} GB free")


def _line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


CHECKS: dict[str, Callable[[], Finding]] = {
    "python": python,
    "settings": checks,
    "PostgreSQL": database,
    "Redis": redis_server,
    "ClickHouse": clickhouse,
    "traces": trace_backends,
    "masking": masking,
    "spool": spool,
    "worker": worker,
    "keys": keys,
    "provider": provider,
    "sandbox": sandbox,
    "disk": disk,
}
