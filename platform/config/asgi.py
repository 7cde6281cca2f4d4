"""The ASGI application: HTTP, event streams and websockets of one process."""

from __future__ import annotations

import os
from typing import Any

import django
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)


def _by_path(site: ASGIHandler, api: ASGIHandler) -> Any:
    async def route(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await (api if scope["path"].startswith("/v1/") else site)(scope, receive, send)

    return route


def _application() -> ProtocolTypeRouter:
    from config.api_handler import ApiHandler
    from config.routing import websocket

    return ProtocolTypeRouter({"http": _by_path(get_asgi_application(), ApiHandler()), "websocket": websocket})


application = _application()
