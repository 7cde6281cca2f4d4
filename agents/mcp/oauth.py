"""OAuth to an MCP server: the tokens we have, renewed when they run out, and the way to the first ones.

The SDK does discovery, registration, PKCE and the exchange; here is what is kept between connections.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import httpx2
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.auth.oauth2 import OAuthContext
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import AnyUrl, BaseModel

from agents.mcp.authorizations import save_tokens
from agents.mcp.target import Target

_EARLY_S = 30.0
_NOWHERE = "http://localhost/"  # a client that is registered already is sent nowhere


class Kept(TokenStorage):
    """One server's registration, metadata and tokens: JSON, encrypted in its row."""

    def __init__(self, target: Target) -> None:
        self._server_id = target.server_id
        self._known: dict[str, Any] = json.loads(target.oauth) if target.oauth else {}
        self.context: OAuthContext | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return _parsed(OAuthToken, self._known.get("tokens"))

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return _parsed(OAuthClientInformationFull, self._known.get("client"))

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._known["client"] = _plain(client_info)  # stored with the first tokens: without any it is of no use

    async def set_tokens(self, tokens: OAuthToken) -> None:
        assert self.context is not None
        self._known["tokens"] = _plain(tokens)
        self._known["expires_at"] = self.context.token_expiry_time
        self._known["metadata"] = _plain(self.context.oauth_metadata)
        self._known["resource"] = _plain(self.context.protected_resource_metadata)
        await asyncio.get_running_loop().run_in_executor(None, save_tokens, self._server_id, json.dumps(self._known))

    def restore(self, context: OAuthContext) -> None:
        """What the SDK would ask for anew, or take to last for ever."""
        expires_at = self._known.get("expires_at")
        context.token_expiry_time = expires_at - _EARLY_S if expires_at else None
        context.oauth_metadata = _parsed(OAuthMetadata, self._known.get("metadata"))
        context.protected_resource_metadata = _parsed(ProtectedResourceMetadata, self._known.get("resource"))


class StoredTokens(OAuthClientProvider):
    """For calls that nobody watches: sends the token, renews it, and asks no person."""

    def __init__(self, target: Target) -> None:
        kept = Kept(target)
        super().__init__(target.url, _client_metadata(_NOWHERE), kept)
        kept.context = self.context
        self._kept = kept
        self._renewing = asyncio.Lock()

    async def _auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        if not self._initialized:
            await self._initialize()
            self._kept.restore(self.context)
        sent = self.context.current_tokens
        if not self.context.is_token_valid() and self.context.can_refresh_token():
            async with self._renewing:
                if not self.context.is_token_valid():
                    await self._handle_refresh_response((yield await self._refresh_token()))
        if self.context.is_token_valid():
            self._add_auth_header(request)
        answer = yield request
        old = self.context.current_tokens is sent and self.context.can_refresh_token()
        if answer.status_code == 401 and old:
            await self._handle_refresh_response((yield await self._refresh_token()))
            if self.context.is_token_valid():
                self._add_auth_header(request)
                yield request


def auth_of(target: Target) -> httpx2.Auth | None:
    return StoredTokens(target) if target.oauth else None


class AskingPerson(OAuthClientProvider):
    """For a person who connects a server: `show` gets the address of the authorization page, `wait` the answer."""

    def __init__(
        self,
        target: Target,
        redirect_uri: str,
        show: Callable[[str], Awaitable[None]],
        wait: Callable[[], Awaitable[AuthorizationCodeResult]],
    ) -> None:
        kept = Kept(target)
        super().__init__(target.url, _client_metadata(redirect_uri), kept, show, wait)
        kept.context = self.context
        self._kept = kept

    async def _initialize(self) -> None:
        await super()._initialize()
        self._kept.restore(self.context)
        client = self.context.client_info
        redirects = [str(uri) for uri in client.redirect_uris or ()] if client else []
        if str(self.context.client_metadata.redirect_uris[0]) not in redirects:  # type: ignore[index]
            self.context.client_info = None  # registered for another address of ours


def _client_metadata(redirect_uri: str) -> OAuthClientMetadata:
    return OAuthClientMetadata(
        client_name="Perennial",
        redirect_uris=[AnyUrl(redirect_uri)],
        application_type="web",
    )


def _plain(value: BaseModel | None) -> dict[str, Any] | None:
    return None if value is None else value.model_dump(mode="json", exclude_none=True)


def _parsed(shape: Any, value: Any) -> Any:
    return None if value is None else shape.model_validate(value)
