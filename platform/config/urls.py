"""The HTTP routes: the APIs, the admin, and nothing else."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from config.api import api
from config.rest import Index

urlpatterns = [
    path("v1/", api.urls),
    path("api", Index.as_view(), name="rest-index"),
    path("api/", include("config.rest")),
    path("admin/", admin.site.urls),
]
