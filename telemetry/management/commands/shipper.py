"""Carry finished model calls from the spool to ClickHouse. One for each host; a second one waits for the first."""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from telemetry.shipper import Shipper, retry_quarantined


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--drain", action="store_true", help="ship what is there, then exit")
        parser.add_argument(
            "--retry-dead", action="store_true", help="first bring back the records that were put aside"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.CLICKHOUSE_URL:
            raise CommandError("No ClickHouse is set: give CLICKHOUSE_URL, or start one with `manage.py up`.")
        directory = settings.TELEMETRY_SPOOL_DIR
        if options["retry_dead"]:
            self.stdout.write(f"{retry_quarantined(directory)} files brought back")
        shipper = Shipper(directory, settings.CLICKHOUSE_URL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: shipper.stop())
        if not options["drain"]:
            shipper.run()
        elif not shipper.drain():
            raise CommandError("stopped before everything was shipped")
        if options["drain"]:
            self.stdout.write(f"{shipper.condition.rows} rows shipped")
