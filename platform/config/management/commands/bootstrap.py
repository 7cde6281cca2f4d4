"""Makes what a new installation needs to be tried: an operator, an organization, an API key and a demo agent.

Safe to run again: what is there stays. The last line it prints is JSON with the log-in and the key, which are also kept
in the data directory, readable by its owner alone.
"""

from __future__ import annotations

import json
import os
import secrets
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from accounts.access import caller_of_key
from accounts.actions import NewKey, create_api_key, create_organization
from accounts.models import Organization, User
from agents.actions import create_agent
from agents.models import Agent
from agents.schemas.agents import CreateAgent
from agents.tools.registry import sync_base_tools
from core.errors import Unauthenticated
from providers.resolve import list_embedding_models, list_models

EMAIL = "operator@perennial.local"
ORGANIZATION = "Demo"
AGENT = "Demo agent"
SYSTEM = (
    "You are a friendly assistant with a memory of your own. Answer in one or two short sentences. "
    "When the user tells you something about themselves that is worth keeping, save it to the memory block 'human' "
    "with memory_insert, then answer. Use what your memory says; never claim to know what is not there."
)


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        sync_base_tools()
        kept = _read()
        kept = _with_account(kept)
        caller = caller_of_key(kept["api_key"])
        kept["agent_id"], kept["model"] = _agent(caller)
        _write(kept)
        self.stdout.write(json.dumps(kept))


def _with_account(kept: dict[str, str]) -> dict[str, str]:
    """The operator, their organization and a key that works; the password and key are made anew only where lost."""
    user = User.objects.filter(email=EMAIL).first()
    if user is None or "password" not in kept:
        kept["password"] = secrets.token_urlsafe(12)
        user = user or User.objects.create_superuser(EMAIL, name="Operator")
        user.set_password(kept["password"])
        user.save(update_fields=["password"])
    organization = Organization.objects.filter(memberships__user=user).order_by("created_at").first()
    organization = organization or create_organization(ORGANIZATION, user)
    if not _works(kept.get("api_key", "")):
        kept["api_key"] = create_api_key(organization, user, NewKey(name="demo"))[1]
    return kept | {"email": EMAIL, "organization_id": organization.pk}


def _works(key: str) -> bool:
    try:
        caller_of_key(key)
    except Unauthenticated:
        return False
    return True


def _agent(caller: Any) -> tuple[str, str]:
    """(id, model) of the demo agent; it follows the model that this start chose."""
    model = settings.DEFAULT_MODEL or _best_model(caller.organization_id)
    agent = Agent.objects.filter(organization_id=caller.organization_id, name=AGENT).order_by("created_at").first()
    if agent is not None:
        if agent.model != model:
            Agent.objects.filter(pk=agent.pk).update(model=model, model_settings={})
        return agent.pk, model
    embeddings = [info.handle for info in list_embedding_models(caller.organization_id)]
    data = CreateAgent.model_validate(
        {
            "name": AGENT,
            "description": "Made at the first start, to try things with.",
            "system": SYSTEM,
            "model": model,
            "embedding": settings.DEFAULT_EMBEDDING or next(iter(embeddings), None),
            "tags": ["demo"],
            "memory_blocks": [
                {"label": "human", "value": "", "description": "What I know about the user.", "limit": 2000},
                {"label": "persona", "value": "I am brief and kind.", "description": "Who I am.", "limit": 2000},
            ],
            "tools": ["memory_insert", "memory_replace", "conversation_search"],
        }
    )
    return create_agent(caller, data).agent.pk, model


def _best_model(organization_id: str) -> str:
    """The first model that is not the scripted one; that one where there is no other."""
    handles = [info.handle for info in list_models(organization_id)]
    return next((handle for handle in handles if not handle.startswith("scripted/")), handles[0])


def _path() -> Any:
    return settings.DATA_DIR / "credentials.json"


def _read() -> dict[str, str]:
    try:
        return dict(json.loads(_path().read_text()))
    except (OSError, ValueError):
        return {}


def _write(kept: dict[str, str]) -> None:
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    handle = os.open(_path(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(json.dumps(kept))
