"""Bring ClickHouse's tables up to date. Safe to run again, and by several processes at once."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from telemetry.client import TelemetryUnavailable
from telemetry.migrate import Retention, migrate


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.CLICKHOUSE_URL:
            raise CommandError("No ClickHouse is set: give CLICKHOUSE_URL, or start one with `manage.py up`.")
        retention = Retention(settings.TRACE_RETENTION_DAYS, settings.PAYLOAD_RETENTION_DAYS)
        try:
            applied = migrate(settings.CLICKHOUSE_URL, retention, self.stdout.write)
        except TelemetryUnavailable as error:
            raise CommandError(error.message) from error
        if not applied:
            self.stdout.write("ClickHouse is up to date.")
