"""Providers on the wire. A key goes in and never comes out: what is shown of it is what its vendor shows too."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from agents.schemas.base import Page, Wire
from providers.entries import Entry, base_id
from providers.models import Provider

ApiKey = Annotated[str, Field(max_length=8000)]
Short = Annotated[str, Field(max_length=200)]


class ProviderQuery(Page):
    name: str | None = None
    provider_type: str | None = None


class _Reach(Wire):
    access_key: Short | None = None
    region: Annotated[str, Field(max_length=60)] | None = None
    base_url: Annotated[str, Field(max_length=500)] | None = None
    api_version: Annotated[str, Field(max_length=40)] | None = None


class ProviderCreate(_Reach):
    name: Annotated[str, Field(max_length=100)]
    provider_type: Annotated[str, Field(max_length=40)]
    api_key: ApiKey


class ProviderCheck(_Reach):
    provider_type: Annotated[str, Field(max_length=40)]
    api_key: ApiKey


class ProviderUpdate(_Reach):
    api_key: ApiKey | None = None

    def changes(self) -> dict[str, Any]:
        """Null and left out both mean: as it is."""
        return self.model_dump(exclude_none=True)


class ProviderOut(Wire):
    """`api_key` and `access_key` are masked; the encrypted forms are always null."""

    id: str | None
    name: str
    provider_type: str
    provider_category: str
    api_key: str | None = None
    base_url: str | None = None
    access_key: str | None = None
    region: str | None = None
    api_version: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    last_synced: datetime | None = None
    api_key_enc: str | None = None
    access_key_enc: str | None = None
    organization_id: str | None = None


def provider_out(found: Provider | Entry) -> ProviderOut:
    return _base(found) if isinstance(found, Entry) else _own(found)


def _own(row: Provider) -> ProviderOut:
    return ProviderOut(
        id=row.pk,
        name=row.name,
        provider_type=row.provider_type,
        provider_category="byok",
        api_key=row.fingerprint or None,
        base_url=row.base_url or None,
        region=row.region or None,
        api_version=row.api_version or None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_synced=row.checked_at,
        organization_id=row.organization_id,
    )


def _base(entry: Entry) -> ProviderOut:
    """One of the installation: its address and key are the operator's own business."""
    credential = entry.credential
    return ProviderOut(
        id=base_id(entry.name),
        name=entry.name,
        provider_type=credential.provider_type,
        provider_category="base",
        region=credential.region,
        api_version=credential.api_version,
    )
