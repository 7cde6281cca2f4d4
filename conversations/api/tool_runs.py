"""/v1/tools/run: a tool tried from its source; the answer is the message that a conversation would hold."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router

from accounts.http import ApiRequest
from agents.api.answers import answer
from agents.schemas.tools import ToolRunFromSource
from agents.tools.source_runs import run_source
from conversations.schemas.messages import ToolReturnMessage, tool_run_out

router = Router(tags=["tools"])


@router.post("/run", response=ToolReturnMessage)
def run_tool_from_source(request: ApiRequest, data: ToolRunFromSource) -> HttpResponse:
    return answer(tool_run_out(run_source(data)))
