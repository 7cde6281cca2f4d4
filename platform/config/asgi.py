"""The ASGI application: HTTP, event streams and websockets of one process."""

from __future__ import annotations

import os
from typing import Any

import django
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)


class ApiHandler(ASGIHandler):
    """Django without middleware: `/v1` has keys instead of sessions, and pays for nothing it does not use."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        get_response = self._get_response_async if is_async else self._get_response
        self._middleware_chain = convert_exception_to_response(get_response)


def _by_path(site: ASGIHandler, api: ASGIHandler) -> Any:
    async def route(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await (api if scope["path"].startswith("/v1/") else site)(scope, receive, send)

    return route


def _application() -> ProtocolTypeRouter:
    from config.routing import websocket

    return ProtocolTypeRouter({"http": _by_path(get_asgi_application(), ApiHandler()), "websocket": websocket})


application = _application()
