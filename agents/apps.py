"""Django's entry to the agents room."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
