"""Wrong telemetry settings, found by `manage.py check`, each with its mend."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clickhouse_driver.util.helpers import parse_url
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Warning, register

from telemetry.content import analyzer


@register
def check_spool(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The directory must be one that this user can write, on a file system with locks."""
    directory = Path(settings.TELEMETRY_SPOOL_DIR)
    nearest = next(p for p in (directory, *directory.absolute().parents) if p.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return []
    hint = "Set TELEMETRY_SPOOL_DIR to a directory on a local disk that this user can write."
    return [Error(f"The telemetry spool {directory} cannot be written.", hint=hint, id="telemetry.E001")]


@register
def check_clickhouse_url(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if not settings.CLICKHOUSE_URL:
        hint = "Give CLICKHOUSE_URL, or start one with `manage.py up`. Traces wait in the spool until then."
        return [Warning("No ClickHouse is set.", hint=hint, id="telemetry.W001")]
    try:
        host, _ = parse_url(settings.CLICKHOUSE_URL)
    except (ValueError, AttributeError):
        host = None
    if host and settings.CLICKHOUSE_URL.startswith(("clickhouse://", "clickhouses://")):
        return []
    hint = "It reads clickhouse://user:password@host:9000/database (clickhouses:// with TLS)."
    return [Error("CLICKHOUSE_URL is no address of ClickHouse's native port.", hint=hint, id="telemetry.E002")]


@register
def check_retention(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.PAYLOAD_RETENTION_DAYS <= settings.TRACE_RETENTION_DAYS:
        return []
    hint = "A payload without its trace cannot be found: lower PAYLOAD_RETENTION_DAYS or raise TRACE_RETENTION_DAYS."
    return [Warning("Payloads are kept longer than traces.", hint=hint, id="telemetry.W002")]


@register
def check_email(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if not settings.EMAIL_URL:
        hint = "Give EMAIL_URL. Slack and webhooks work without."
        return [Info("No mail server is set: alerts by email are not sent.", hint=hint, id="telemetry.I001")]
    parts = urlsplit(settings.EMAIL_URL)
    if parts.scheme in ("smtp", "smtps") and parts.hostname:
        return []
    hint = "It reads smtp://user:password@host:587, or smtps://user:password@host:465."
    return [Error("EMAIL_URL is no address of a mail server.", hint=hint, id="telemetry.E003")]


@register
def check_analyzer(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """An analyzer that is switched on and not there would cost every masked payload."""
    if not settings.TRACE_ANALYZER:
        return []
    try:
        analyzer(settings.TRACE_ANALYZER)
    except ImportError as error:
        hint = "Install what it says, or set TRACE_ANALYZER to another class by its dotted path, or leave it empty."
        return [Error(f"TRACE_ANALYZER={settings.TRACE_ANALYZER}: {error}", hint=hint, id="telemetry.E004")]
    return []
