"""/v1/providers: the installation's providers, and an organization's own keys, which its owners and admins manage."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.access import require_admin
from accounts.http import ApiRequest
from agents import access
from agents.api.answers import answer, answer_list, answer_plain
from agents.queries import find_providers
from agents.schemas.base import ProviderId
from agents.schemas.providers import (
    ProviderCheck,
    ProviderCreate,
    ProviderOut,
    ProviderQuery,
    ProviderUpdate,
    provider_out,
)
from providers import actions
from providers.actions import ProviderDraft

router = Router(tags=["providers"])


@router.get("/", response=list[ProviderOut])
def list_providers(request: ApiRequest, query: Query[ProviderQuery]) -> HttpResponse:
    """An organization's own, then those of the installation."""
    return answer_list(map(provider_out, find_providers(request.caller, query)))


@router.post("/", response=ProviderOut)
def create_provider(request: ApiRequest, data: ProviderCreate) -> HttpResponse:
    """Store a key once its vendor has taken it. With the name of one of the installation, it is used instead of it."""
    caller = require_admin(request.caller, "Providers")
    draft = ProviderDraft(**data.model_dump(exclude_none=True), project_id=caller.project_id or "")
    return answer(provider_out(actions.create_provider(caller.organization_id, draft, actor=caller.actor_id)))


@router.post("/check", response=None)
def check_credentials(request: ApiRequest, data: ProviderCheck) -> HttpResponse:
    """Ask a vendor whether it takes a key; nothing is stored."""
    require_admin(request.caller, "Providers")
    actions.check_draft(ProviderDraft(name="check", **data.model_dump(exclude_none=True)))
    return answer_plain(None)


@router.get("/{provider_id}", response=ProviderOut)
def retrieve_provider(request: ApiRequest, provider_id: Path[ProviderId]) -> HttpResponse:
    return answer(provider_out(access.get_provider(request.caller, provider_id)))


@router.patch("/{provider_id}", response=ProviderOut)
def modify_provider(request: ApiRequest, provider_id: Path[ProviderId], data: ProviderUpdate) -> HttpResponse:
    row = access.own_provider(request.caller, provider_id)
    return answer(provider_out(actions.update_provider(row, data.changes(), actor=request.caller.actor_id)))


@router.delete("/{provider_id}")
def delete_provider(request: ApiRequest, provider_id: Path[ProviderId]) -> HttpResponse:
    actions.delete_provider(access.own_provider(request.caller, provider_id), actor=request.caller.actor_id)
    return answer_plain({"message": f"Provider id={provider_id} successfully deleted"})


@router.post("/{provider_id}/check", response=None)
def check_provider(request: ApiRequest, provider_id: Path[ProviderId]) -> HttpResponse:
    """Ask the vendor now whether it takes the key; what it says is kept."""
    actions.check_provider(access.own_provider(request.caller, provider_id))
    return answer_plain(None)


@router.patch("/{provider_id}/refresh", response=ProviderOut)
def refresh_provider(request: ApiRequest, provider_id: Path[ProviderId]) -> HttpResponse:
    """Ask for the provider's models anew."""
    row = access.own_provider(request.caller, provider_id)
    actions.refresh_models(row)
    return answer(provider_out(access.get_provider(request.caller, provider_id)))
