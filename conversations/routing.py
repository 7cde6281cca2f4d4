"""The websocket routes of conversations."""

from __future__ import annotations

from typing import Any

from django.urls import re_path

from conversations.consumers import ConversationConsumer
from core.ids import UUID4

_socket = ConversationConsumer.as_asgi()

websocket_urlpatterns: list[Any] = [
    re_path(rf"^ws/agents/(?P<agent_id>agent-{UUID4})/?$", _socket),
    re_path(rf"^ws/conversations/(?P<conversation_id>conv-{UUID4})/?$", _socket),
]
