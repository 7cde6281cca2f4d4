"""The tables that telemetry keeps in PostgreSQL; traces themselves are in ClickHouse."""

from telemetry.models.alerts import AlertChannel, AlertDelivery, AlertEvent, AlertRule, AlertState

__all__ = ["AlertChannel", "AlertDelivery", "AlertEvent", "AlertRule", "AlertState"]
