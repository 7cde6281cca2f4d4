"""Django's entry to the streams room."""

from django.apps import AppConfig


class StreamsConfig(AppConfig):
    name = "streams"
