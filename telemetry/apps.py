"""Django's entry to the telemetry room."""

from django.apps import AppConfig


class TelemetryConfig(AppConfig):
    name = "telemetry"

    def ready(self) -> None:
        from accounts.actions import before_organization_goes
        from telemetry import checks  # noqa: F401 -- registers itself
        from telemetry.backends import checks as backend_checks  # noqa: F401 -- likewise
        from telemetry.deletion import organization_is_leaving

        before_organization_goes(organization_is_leaving)
