"""Who works on a run: claims with a fencing number, renewed by one thread per worker process, lost without harm.

A claim is one UPDATE that takes a run nobody holds, or whose holder has been silent for longer than the lease. Each
claim raises the run's `fence`; a worker's writes carry the fence it was given, and an older one changes nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from django.conf import settings
from django.db import connection

from conversations.models import Run
from core.ids import new_id

log = logging.getLogger(__name__)

_CLAIM = """
WITH held AS (
    SELECT id, worker AS lost_worker, current_step_id AS lost_step_id FROM conversations_run
    WHERE id = %s AND status IN ('queued', 'running') AND NOT waits_turn AND (worker = '' OR lease_expires_at < now())
        AND step_count = coalesce(%s, step_count)
    FOR UPDATE SKIP LOCKED
)
UPDATE conversations_run AS run SET
    status = 'running', worker = %s, fence = fence + 1, current_step_id = %s,
    lease_expires_at = now() + make_interval(secs => %s),
    started_at = coalesce(started_at, now()),
    failures = CASE WHEN held.lost_worker = '' THEN failures ELSE failures + 1 END
FROM held WHERE run.id = held.id
RETURNING run.*, held.lost_worker, held.lost_step_id
"""
_RENEW = """
UPDATE conversations_run SET lease_expires_at = now() + make_interval(secs => %s)
WHERE id = ANY(%s) AND worker = %s AND status = 'running'
RETURNING id
"""


@lru_cache(maxsize=1)
def worker_name() -> str:
    """This process, unlike any other that ever was."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


@dataclass(eq=False, slots=True)
class Lease:
    """`lost` is set when the run was cancelled or taken by another worker: stop, nothing that is written counts."""

    run_id: str
    fence: int
    lost: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that is ours now. `lost_step_id`: the step its former worker died at, '' where none did."""

    run: Run
    lost_step_id: str


def claim(run_id: str, step: int | None = None) -> Claim | None:
    """Take the run, or None: somebody holds it, or there is nothing left to do, or another step than `step` is next."""
    step_id = new_id("step")
    rows = Run.objects.raw(_CLAIM, [run_id[-36:], step, worker_name(), step_id, settings.RUN_LEASE_S])
    for run in rows:
        return Claim(run, vars(run)["lost_step_id"] if vars(run)["lost_worker"] else "")
    return None


@contextmanager
def keeping(run: Run) -> Iterator[Lease]:
    """Renew the lease for as long as the block lasts."""
    lease = Lease(run.pk, run.fence)
    keeper = _keeper()
    keeper.add(lease)
    try:
        yield lease
    finally:
        keeper.remove(lease)


class _Keeper:
    """Renews all leases of this process with one statement per round."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._lock = threading.Lock()
        self._some = threading.Event()
        self.period_s = min(1.0, settings.RUN_LEASE_S / 4)
        threading.Thread(target=self._run, name="lease-keeper", daemon=True).start()

    def add(self, lease: Lease) -> None:
        with self._lock:
            former = self._leases.get(lease.run_id)
            if former is not None:
                former.lost.set()
            self._leases[lease.run_id] = lease
            self._some.set()

    def remove(self, lease: Lease) -> None:
        with self._lock:
            if self._leases.get(lease.run_id) is lease:
                del self._leases[lease.run_id]
            if not self._leases:
                self._some.clear()

    def _run(self) -> None:
        while True:
            self._some.wait()
            time.sleep(self.period_s)
            with self._lock:
                leases = dict(self._leases)
            if not leases:
                continue
            try:
                self._renew(leases)
            except Exception as error:
                # Whatever the database does, the thread must live on: without it every long step would be lost.
                log.warning("leases were not renewed, trying again: %s", error)

    def _renew(self, leases: dict[str, Lease]) -> None:
        ids = [uuid.UUID(run_id[-36:]) for run_id in leases]
        try:
            with connection.cursor() as cursor:
                cursor.execute(_RENEW, [settings.RUN_LEASE_S, ids, worker_name()])
                ours = {f"run-{row[0]}" for row in cursor.fetchall()}
        finally:
            connection.close()
        for run_id, lease in leases.items():
            if run_id not in ours:
                lease.lost.set()


@lru_cache(maxsize=1)
def _keeper() -> _Keeper:
    return _Keeper()
