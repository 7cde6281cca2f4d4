"""A caller's searches for messages: access, then the search."""

from __future__ import annotations

from dataclasses import replace

from accounts.access import Caller
from agents.access import get_agent
from agents.archival import context_of
from agents.threads import MessageSearch
from conversations import access, search
from conversations.schemas.search import SPOKEN, MessageSearchBody, SearchAllMessages
from conversations.search import Hit


def search_spoken(caller: Caller, data: SearchAllMessages) -> list[Hit]:
    """What users, agents and systems said. Raises NotFound, BadInput, ProviderError."""
    conversation_id = data.conversation_id
    if conversation_id is not None:
        conversation_id = access.conversation_id_of(caller, conversation_id, data.agent_id)
    return _search(caller, data.wanted(caller.organization_id, conversation_id, SPOKEN))


def search_stored(caller: Caller, data: MessageSearchBody) -> list[Hit]:
    """Stored messages of any role but compiled system prompts. Raises NotFound, BadInput, ProviderError."""
    if data.conversation_id is not None:
        access.conversation_id_of(caller, data.conversation_id, data.agent_id)
    wanted = data.wanted(caller.organization_id, data.conversation_id, tuple(data.roles or (*SPOKEN, "tool")))
    return _search(caller, replace(wanted, project_id=data.project_id))


def _search(caller: Caller, wanted: MessageSearch) -> list[Hit]:
    agent = get_agent(caller, wanted.agent_id) if wanted.agent_id else None
    return search.search(wanted, context_of(caller, agent))
