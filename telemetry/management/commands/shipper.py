"""Carry finished model calls from the spool to the trace back ends. One for each host; a second waits for the first."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from telemetry.backends.base import TraceBackend, configured
from telemetry.backends.checks import check_backends
from telemetry.shipper import Shipper, collect_rarely
from telemetry.spool_state import reporting
from telemetry.spooled import retry_quarantined


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--drain", action="store_true", help="ship what is there, then exit")
        parser.add_argument(
            "--retry-dead", action="store_true", help="first bring back the records that were put aside"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        backends = _backends()
        directory = settings.TELEMETRY_SPOOL_DIR
        if options["retry_dead"]:
            brought = retry_quarantined(directory, [backend.name for backend in backends])
            self.stdout.write(f"{brought} files brought back")
        collect_rarely()
        shipper = Shipper(directory, backends, limit_bytes=settings.TELEMETRY_SPOOL_MAX_BYTES)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: shipper.stop())
        if not options["drain"]:
            with reporting(directory):
                shipper.run()
        elif not shipper.drain():
            raise CommandError("stopped before everything was shipped")
        if options["drain"]:
            for delivery in shipper.deliveries:
                self.stdout.write(f"{delivery.condition.rows} rows shipped to {delivery.name}")


def _backends() -> list[TraceBackend]:
    if "clickhouse" in settings.PROVIDER_TRACE_BACKENDS and not settings.CLICKHOUSE_URL:
        raise CommandError("No ClickHouse is set: give CLICKHOUSE_URL, or start one with `manage.py up`.")
    wrong = [found for found in check_backends(None) if found.is_serious()]
    if wrong:
        raise CommandError("\n".join(f"{found.msg} {found.hint or ''}".strip() for found in wrong))
    return configured()
