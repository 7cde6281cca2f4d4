"""/v1/tags: the tags in use on agents."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query, Router

from accounts.http import ApiRequest
from agents.api.answers import answer_plain
from agents.queries import find_tags
from agents.schemas.agents import TagQuery

router = Router(tags=["tags"])


@router.get("/", response=list[str])
def list_tags(request: ApiRequest, query: Query[TagQuery]) -> HttpResponse:
    return answer_plain(find_tags(request.caller, query))
