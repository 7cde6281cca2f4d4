"""The websocket routes of conversations."""

from __future__ import annotations

from typing import Any

from channels.security.websocket import WebsocketDenier
from django.urls import re_path

from conversations.consumers import ConversationConsumer

_socket = ConversationConsumer.as_asgi()

# The name of a part is the prefix of the id that it must be.
websocket_urlpatterns: list[Any] = [
    re_path(r"^ws/agents/(?P<agent>[^/]+)/?$", _socket),
    re_path(r"^ws/conversations/(?P<conv>[^/]+)/?$", _socket),
    re_path(r"", WebsocketDenier.as_asgi()),
]
