"""Conversations as readable chat, paged by the number of the message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from console.admin_base import ReadOnlyAdmin
from console.chat import Turn
from console.display import badge, count, link, when
from conversations.admin.turns import turns_of
from conversations.models import Conversation, Message

PAGE = 40


@dataclass(frozen=True, slots=True)
class ChatPage:
    """`older` and `newer` are message numbers to page from; "" where there is nothing further."""

    turns: list[Turn]
    older: str
    newer: str


def chat_page(rows: QuerySet[Message], before: str = "", after: str = "") -> ChatPage:
    """The newest messages, or those just before or after a number. Oldest first."""
    rows = rows.defer("text", "otid", "stats")
    if after.isdigit():
        found = list(rows.filter(seq__gt=int(after)).order_by("seq")[: PAGE + 1])
        more_newer, found = len(found) > PAGE, found[:PAGE]
        more_older = True
    else:
        if before.isdigit():
            rows = rows.filter(seq__lt=int(before))
        found = list(rows.order_by("-seq")[: PAGE + 1])
        more_older, found = len(found) > PAGE, found[:PAGE][::-1]
        more_newer = before.isdigit()
    if not found:
        return ChatPage([], "", "")
    older = str(found[0].seq) if more_older and found[0].seq > 0 else ""
    return ChatPage(turns_of(found), older, str(found[-1].seq) if more_newer else "")


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ("title", "agent_link", "organization", "messages_number", "context", "last_message", "state")
    list_select_related = ("agent", "organization")
    list_filter = ("is_default", "hidden")
    search_fields = ("summary__icontains",)
    search_help_text = "By title, or by id (also an agent's)"
    id_lookups = {"agent": "agent_id"}
    ordering = ("-created_at",)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        columns = (
            "summary",
            "is_default",
            "next_seq",
            "context_tokens",
            "last_message_at",
            "archived_at",
            "created_at",
        )
        return rows.only(*columns, "agent__name", "organization__name"), duplicates

    @admin.display(description="conversation")
    def title(self, obj: Conversation) -> str:
        return str(obj)

    @admin.display(description="agent")
    def agent_link(self, obj: Conversation) -> SafeString | str:
        return link(str(obj.agent_id), obj.agent.name)

    @admin.display(description="messages", ordering="next_seq")
    def messages_number(self, obj: Conversation) -> str:
        return count(obj.next_seq)

    @admin.display(description="tokens in context", ordering="context_tokens")
    def context(self, obj: Conversation) -> str:
        return count(obj.context_tokens)

    @admin.display(description="last message", ordering="last_message_at")
    def last_message(self, obj: Conversation) -> SafeString | str:
        return when(obj.last_message_at)

    @admin.display(description="state")
    def state(self, obj: Conversation) -> SafeString | str:
        return badge("archived", "plain") if obj.archived_at else badge("open", "good")

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        conversation = self.get_object(request, object_id)
        if conversation is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        page = chat_page(conversation.messages.all(), request.GET.get("before", ""), request.GET.get("after", ""))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": conversation,
            "title": str(conversation),
            "page": page,
            "latest_runs": list(conversation.runs.order_by("-created_at").defer("input", "options")[:5]),
        }
        return TemplateResponse(request, "console/conversations/chat.html", context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("agent", "organization")
