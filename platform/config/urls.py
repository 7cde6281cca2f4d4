"""The HTTP routes: the APIs, the admin, and nothing else."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from config.api import api

urlpatterns = [
    path("v1/", api.urls),
    path("api", include("config.rest")),
    path("admin/", admin.site.urls),
]
