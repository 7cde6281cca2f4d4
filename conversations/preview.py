"""What a send would say to the model, as its vendor would be sent it: nothing is sent, and nothing kept."""

from __future__ import annotations

from typing import Any

import orjson

from accounts.access import Caller
from agents import loop
from conversations import answers, images, turn
from conversations.inputs import SendBody, options_of, rows_of
from conversations.models import Conversation, Run
from providers.clients.base import client_for


def request_of(caller: Caller, conversation: Conversation, body: SendBody) -> dict[str, Any]:
    """The body of the first model call, without headers and key. Raises BadInput."""
    rows = images.loaded(rows_of(body))
    run = Run(
        **answers.account(caller, conversation, rows, {}),
        organization_id=conversation.organization_id,
        agent_id=conversation.agent_id,
        conversation=conversation,
        input=rows,
        options=options_of(body),
    )
    work = turn.load(run)
    images.check_model(rows, work.target.info)
    client = client_for(work.target.credential, tool_mode=work.target.info.tool_mode)
    found: dict[str, Any] = orjson.loads(client.request_body(loop.request_of(work.turn, work.target.model)))
    return found
