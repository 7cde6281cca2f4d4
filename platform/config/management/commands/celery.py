"""Celery's own command line (`manage.py celery worker`, `… beat`, `… inspect ping`), with this project's defaults."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

HELP = {"--help", "-h"}


class Command(BaseCommand):
    help = __doc__

    def run_from_argv(self, argv: list[str]) -> None:
        """Everything behind `celery` is Celery's: Django's own option parser must not see it."""
        from config.celery import app

        raise SystemExit(app.start(argv=with_defaults(argv[2:])))

    def handle(self, *args: Any, **options: Any) -> None:
        raise NotImplementedError("run_from_argv does it all")


def with_defaults(args: list[str]) -> list[str]:
    """What the caller gives comes last, and so wins."""
    if not args or HELP & set(args):
        return args
    name, *rest = args
    if name == "worker":
        # The threads pool, since a step waits for the network; the gossip between workers is of no use here.
        pool = ["-P", "threads", "-c", str(settings.WORKER_CONCURRENCY)]
        return [
            "-q",
            name,
            *pool,
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "-l",
            "warning",
            *rest,
        ]
    if name == "beat":
        return ["-q", name, "-l", "warning", "--pidfile=", "-s", str(settings.DATA_DIR / "celerybeat"), *rest]
    return args
