"""From a model call to the disk: the provider's key, its headers and its address's password stay behind, in each mode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from agents.model_calls import CallContext, ModelCall
from providers.catalog import describe
from providers.clients import base
from providers.clients.base import Credential
from providers.errors import AuthenticationFailed
from providers.events import ModelEvent
from providers.resolve import ResolvedModel
from providers.types import Message, ModelRequest, TextPart
from telemetry import content
from telemetry.models import TracePolicy
from telemetry.recorder import recorder
from tests.support.api import Tenant
from tests.support.turns import traces

SECRETS = ("gateway-key-without-shape", "header-value-77", "pass%2Fword-77", "pass/word-77", "query-value-77")
CREDENTIAL = Credential(
    provider_type="openai",
    api_key=SECRETS[0],
    base_url=f"http://admin-77:{SECRETS[2]}@127.0.0.1:9/v1?sig={SECRETS[4]}",
    headers=(("X-Gateway", SECRETS[1]),),
)
TOLD = " ".join(SECRETS)


class Indiscreet:
    """A client whose provider repeats in its refusal all that it was sent."""

    dialect = "openai_chat"

    def request_body(self, request: ModelRequest) -> bytes:
        return json.dumps({"messages": [TOLD]}).encode()

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        raise AuthenticationFailed(f"You sent {TOLD} to {CREDENTIAL.base_url}")
        yield

    def list_models(self) -> list[Any]:
        return []

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("mode", ["full", "masked", "metadata"])
def test_nothing_secret_of_a_provider_reaches_the_disk(
    parts: object, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setitem(base._clients, (CREDENTIAL, base.NATIVE), Indiscreet())
    TracePolicy.objects.create(organization=tenant.organization, content=mode)
    content.forget(tenant.organization.pk)
    target = ResolvedModel(
        credential=CREDENTIAL,
        model="gpt-4o-mini",
        info=describe("openai", "gpt-4o-mini"),
        provider_id=None,
        category="base",
    )
    run_id = f"run-of-{mode}"
    context = CallContext(organization_id=str(tenant.organization.pk), call_type="agent_step", run_id=run_id)
    asked = ModelRequest(model="gpt-4o-mini", messages=(Message("user", (TextPart(TOLD),)),))
    with pytest.raises(AuthenticationFailed):
        list(ModelCall(target, asked, context).events())
    recorder().flush()
    [trace] = traces(run_id)
    assert (trace["content"], trace["error_type"]) == (mode, "llm_authentication")
    assert "[secret]" in trace["error_message"]
    written = b"".join(path.read_bytes() for path in Path(settings.TELEMETRY_SPOOL_DIR).iterdir() if path.is_file())
    assert run_id.encode() in written
    assert [secret for secret in (*SECRETS, "admin-77") if secret.encode() in written] == []
