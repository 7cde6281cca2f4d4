"""The sandboxes that the settings name: one of each in a server process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from agents.sandbox.base import Limits, Sandbox
from agents.sandbox.local import Accounts, Policy
from core.network import addresses_of, is_public

WEB_PORTS = frozenset({80, 443, 8080, 8443})


BACKENDS = {
    "local": "agents.sandbox.local.LocalSandbox",
    "e2b": "agents.sandbox.e2b.E2BSandbox",
    "modal": "agents.sandbox.modal.ModalSandbox",
}


@cache
def sandbox(name: str = "") -> Sandbox:
    """The one of the installation, unless another one is named."""
    return made(name)


def made(name: str = "") -> Sandbox:
    """A back end is made with the `Policy` of this server. Raises ImportError where there is none of that name."""
    path = name or settings.SANDBOX_BACKEND
    found: Sandbox = import_string(BACKENDS.get(path, path))(
        Policy(
            folder=settings.SANDBOX_DIR,
            limits=Limits(wall_s=settings.SANDBOX_TIMEOUT_S, memory_mb=settings.SANDBOX_MEMORY_MB),
            pool=settings.SANDBOX_POOL,
            allow_unisolated=settings.SANDBOX_ALLOW_UNISOLATED,
            reach=public_addresses,
            node=settings.SANDBOX_NODE,
            accounts=Accounts(
                settings.E2B_API_KEY, settings.E2B_TEMPLATE, settings.MODAL_TOKEN_ID, settings.MODAL_TOKEN_SECRET
            ),
        )
    )
    return found


def others() -> list[str]:
    """The back ends that tools may ask for beside the installation's: the vendors that it has a key of."""
    keys = {"e2b": settings.E2B_API_KEY, "modal": settings.MODAL_TOKEN_ID and settings.MODAL_TOKEN_SECRET}
    return [name for name, key in keys.items() if key and name != settings.SANDBOX_BACKEND]


def chosen_by(metadata: Mapping[str, Any] | None) -> str:
    """What a tool's metadata names as its `sandbox`, where it is one of `others`. Anything else means the
    installation's own, so that no tool leads out of the machines that its operator has chosen."""
    wanted = (metadata or {}).get("sandbox")
    return next((name for name in others() if name == wanted), "")


def public_addresses(host: str, port: int) -> list[str]:
    """Where tools may go: those of the host that lie in the internet. Raises OSError, UnicodeError."""
    if port not in WEB_PORTS:
        return []
    return [str(address) for address in addresses_of(host, port) if is_public(address)]
