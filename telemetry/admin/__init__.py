"""Traces and figures in the admin, read from ClickHouse."""

from telemetry.admin import alert_channels, alerts, exports, home, sql, trace, traces, usage

__all__ = ["alert_channels", "alerts", "exports", "home", "sql", "trace", "traces", "usage"]
