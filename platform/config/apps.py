"""Django's entry to the room that wires the others, and the admin site's."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Make our Celery application the current one in every process that may ring; register checks and listeners."""
        from config import announcements, celery, checks  # noqa: F401 -- checks register themselves

        celery.app.set_current()
        celery.app.set_default()
        announcements.connect()


class AdminConfig(DjangoAdminConfig):
    default_site = "console.site.PerennialAdminSite"
