"""Traces and figures in the admin, read from ClickHouse."""

from telemetry.admin import alert_channels, alerts, home, sql, traces, usage

__all__ = ["alert_channels", "alerts", "home", "sql", "traces", "usage"]
