"""Django's entry to the providers room."""

from django.apps import AppConfig
from django.conf import settings


class ProvidersConfig(AppConfig):
    name = "providers"

    def ready(self) -> None:
        from providers.addresses import set_allowed_hosts

        set_allowed_hosts(lambda: settings.PROVIDER_ALLOWED_HOSTS)
