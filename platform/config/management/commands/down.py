"""Stop what `manage.py up` started here, wherever it runs."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from stack.children import leftover

PATIENCE_SECONDS = 60


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        pid_file = settings.DATA_DIR / "up.pid"
        pid = leftover(pid_file)
        if pid is None:
            self.stdout.write("Nothing runs here.")
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while leftover(pid_file) == pid:
            if time.monotonic() > deadline:
                raise CommandError(f"Process {pid} did not stop within {PATIENCE_SECONDS} s. Kill it: kill -9 {pid}")
            time.sleep(0.1)
        self.stdout.write("Stopped.")
