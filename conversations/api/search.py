"""The routes of `/v1` that find messages by their words and by what they mean."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router

from accounts.http import ApiRequest, BearerKey
from accounts.models import Scope
from agents.api.answers import answer_plain
from conversations import finding
from conversations.schemas.search import (
    FoundMessage,
    MessageSearchBody,
    MessageSearchResult,
    SearchAllMessages,
    found_message,
    search_result,
)

agents_router = Router(tags=["messages"])
messages_router = Router(tags=["messages"])


@messages_router.post("/search", response=list[FoundMessage], auth=BearerKey(Scope.READ))
def search_all_messages(request: ApiRequest, data: SearchAllMessages) -> HttpResponse:
    """What was said in all conversations of the organization, or in those named: the best first."""
    return answer_plain([found_message(hit) for hit in finding.search_spoken(request.caller, data)])


@agents_router.post("/messages/search", response=list[MessageSearchResult], auth=BearerKey(Scope.READ))
def search_agent_messages(request: ApiRequest, data: MessageSearchBody) -> HttpResponse:
    """Stored messages, those of tools too, with the places they have by words and by meaning."""
    return answer_plain([search_result(hit) for hit in finding.search_stored(request.caller, data)])
