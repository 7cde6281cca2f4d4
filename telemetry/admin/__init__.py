"""Traces and figures in the admin, read from ClickHouse."""

from telemetry.admin import home, traces

__all__ = ["home", "traces"]
