"""Traces and figures in the admin, read from ClickHouse."""

from telemetry.admin import alert_channels, alerts, deletions, exports, home, policy, sql, trace, traces, usage

__all__ = ["alert_channels", "alerts", "deletions", "exports", "home", "policy", "sql", "trace", "traces", "usage"]
