"""Django's entry to the console room."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "console"
