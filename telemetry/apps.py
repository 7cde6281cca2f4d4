"""Django's entry to the telemetry room."""

from django.apps import AppConfig


class TelemetryConfig(AppConfig):
    name = "telemetry"

    def ready(self) -> None:
        from telemetry import checks  # noqa: F401 -- registers itself
        from telemetry.backends import checks as backend_checks  # noqa: F401 -- likewise
