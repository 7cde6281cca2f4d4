"""Django's entry to the agents room."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        from django.utils.module_loading import autodiscover_modules

        from agents.limits import complete
        from budgets.effective import complete_with

        complete_with(complete)
        autodiscover_modules("external_tools")
