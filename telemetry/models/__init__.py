"""The tables that telemetry keeps in PostgreSQL; traces themselves are in ClickHouse."""

from telemetry.models.alerts import AlertChannel, AlertDelivery, AlertEvent, AlertRule, AlertState
from telemetry.models.deletion import RetentionRun, SpoolReport, TraceDeletion
from telemetry.models.export import Export
from telemetry.models.policy import TracePolicy
from telemetry.models.stored_trace import StoredTrace

__all__ = [
    "AlertChannel",
    "AlertDelivery",
    "AlertEvent",
    "AlertRule",
    "AlertState",
    "Export",
    "RetentionRun",
    "SpoolReport",
    "StoredTrace",
    "TraceDeletion",
    "TracePolicy",
]
