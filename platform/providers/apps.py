"""Django's entry to the providers room."""

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    name = "providers"
