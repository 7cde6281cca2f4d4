"""/v1/models: the models that an organization can use, by handle."""

from __future__ import annotations

from typing import Literal

from django.http import HttpResponse
from ninja import Query, Router

from accounts.http import ApiRequest
from agents.api.answers import answer_list
from agents.schemas.base import Wire
from agents.schemas.models import EmbeddingModel, Model, listed_embedding, listed_model
from agents.states import endpoints
from providers.resolve import list_embedding_models, list_models

router = Router(tags=["models"])


class ModelQuery(Wire):
    provider_category: list[Literal["base", "byok"]] | None = None
    provider_name: str | None = None
    provider_type: str | None = None


@router.get("/", response=list[Model])
def list_language_models(request: ApiRequest, query: Query[ModelQuery]) -> HttpResponse:
    organization_id = request.caller.organization_id
    found = [
        info
        for info in list_models(organization_id)
        if (not query.provider_category or info.provider_category in query.provider_category)
        and query.provider_name in (None, info.provider_name)
        and query.provider_type in (None, info.provider_type)
    ]
    return answer_list(map(listed_model, endpoints(organization_id, found)))


@router.get("/embedding", response=list[EmbeddingModel])
def list_embeddings(request: ApiRequest) -> HttpResponse:
    organization_id = request.caller.organization_id
    return answer_list(map(listed_embedding, endpoints(organization_id, list_embedding_models(organization_id))))
