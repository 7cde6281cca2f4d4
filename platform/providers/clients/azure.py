"""Azure OpenAI: OpenAI's Chat Completions at a resource of one's own, where deployments are called by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

import openai

from providers.catalog import ModelInfo, describe
from providers.clients.base import Credential
from providers.clients.openai_chat import LIST_TIMEOUT_S, OpenAIChat, list_openai_models, transport_for
from providers.clients.transport import Transport, http_client
from providers.errors import BadRequest

# The last version of the API that lists deployments by a resource's own key.
LISTING_VERSION = "2023-03-15-preview"
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}")


def endpoint(base_url: str) -> str:
    """The address of the resource, however much of a route a person has copied with it."""
    url = base_url.strip()
    parts = urlsplit(url if "://" in url else f"https://{url}")
    path = parts.path.partition("/deployments")[0].rstrip("/").removesuffix("/v1").removesuffix("/openai")
    return f"{parts.scheme}://{parts.netloc}{path}"


def is_dated(credential: Credential) -> bool:
    """Whether an older API is asked for by its date; without, the present one, which knows no versions."""
    return bool(_DATED.match(credential.api_version or ""))


def _dated_transport(credential: Credential, base_url: str) -> Transport:
    sdk = openai.AzureOpenAI(
        api_key=credential.api_key or "none",
        api_version=credential.api_version,
        base_url=base_url,
        max_retries=0,
        http_client=http_client(public_only=credential.public_only),
    )
    sdk.organization = sdk.project = sdk.admin_api_key = None
    sdk._azure_ad_token = None  # of this process's environment
    sdk._custom_headers = dict(credential.headers)
    return Transport(sdk, openai, credential.api_key)  # type: ignore[arg-type]


class AzureChat(OpenAIChat):
    """One credential at one resource."""

    def __init__(self, credential: Credential) -> None:
        if not credential.base_url:
            raise BadRequest("Provider type 'azure' needs its base_url, as https://<resource>.openai.azure.com.")
        url = f"{endpoint(credential.base_url)}/openai"
        self._by_deployment = is_dated(credential)
        if self._by_deployment:
            made = _dated_transport(credential, url)
        else:
            made = transport_for(replace(credential, base_url=f"{url}/v1"))
        super().__init__(credential, made)

    def route(self, model: str, path: str) -> str:
        return f"/deployments/{quote(model, safe='')}{path}" if self._by_deployment else path

    def list_models(self) -> list[ModelInfo]:
        """The deployments; of the present API, which lists none, the models that there could be."""
        if not self._by_deployment:
            return list_openai_models(self.transport, "azure")
        raw = self.transport.get("/deployments", LIST_TIMEOUT_S, params={"api-version": LISTING_VERSION})
        return [_deployed(row) for row in raw.get("data") or () if row.get("id") and row.get("status") != "failed"]


def _deployed(row: Mapping[str, Any]) -> ModelInfo:
    """As what is known of the model that was deployed."""
    name, model = str(row["id"]), str(row.get("model") or row["id"])
    shown = name if name == model else f"{name} ({model})"
    return replace(describe("azure", model, display_name=shown), name=name)
