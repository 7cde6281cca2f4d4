"""Django's entry to the telemetry room."""

from django.apps import AppConfig


class TelemetryConfig(AppConfig):
    name = "telemetry"
