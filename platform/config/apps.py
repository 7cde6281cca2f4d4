"""Django's entry to the room that wires the others, and the admin site's."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class ConfigConfig(AppConfig):
    name = "config"


class AdminConfig(DjangoAdminConfig):
    default_site = "console.site.PerennialAdminSite"
