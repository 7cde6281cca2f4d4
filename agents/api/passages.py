"""/v1/passages: archival memory searched across agents and archives."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router

from accounts.http import ApiRequest, BearerKey
from accounts.models import Scope
from agents import archival
from agents.api.answers import answer_list
from agents.schemas.passages import PassageResult, PassageSearch

router = Router(tags=["passages"])


@router.post("/search", response=list[PassageResult], auth=BearerKey(Scope.READ))
def search_passages(request: ApiRequest, data: PassageSearch) -> HttpResponse:
    hits = archival.search_all(request.caller, data)
    shown = archival.shown([hit.passage for hit in hits])
    return answer_list(PassageResult(passage=p, score=hit.score) for p, hit in zip(shown, hits, strict=True))
