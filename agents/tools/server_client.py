"""The client of this server that a custom tool may be given: which tools want one, who has it, and by what key.

It reaches all that the organization has, so a tool gets it by an administrator's grant, or where the operator gives it
to all (SANDBOX_CLIENT).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from accounts import tool_keys
from agents.sandbox.base import Packages, Server
from agents.sandbox.own_server import CLIENT_PACKAGE
from agents.sources.clients import NAME, counts_on_client
from agents.tools.base import Args, ToolContext, ToolError
from agents.tools.external import ToolRow
from agents.tools.packages import packages_of
from core.db import release_connection

VARIABLES = ("LETTA_BASE_URL", "LETTA_API_KEY")
_OWN_PACKAGE = re.compile(r"letta[-_.]client\b", re.I)
_BY_ITSELF = re.compile(r"\b(letta_client|letta-client|LETTA_BASE_URL)\b")  # the tool makes a client of its own
_REFUSED = (
    "this tool uses `client`, which it was not granted: an administrator may grant it on the tool's page in the admin, "
    "or the operator to all tools by SANDBOX_CLIENT=true"
)


def is_granted(tool: ToolRow) -> bool:
    return bool(tool["client"]) or settings.SANDBOX_CLIENT


def takes_client(tool: ToolRow, args: Args) -> bool:
    """Whether it is to be called with one. An argument of that name is the model's to give. Raises ToolError where it
    counts on one and was granted none."""
    if not _counts_on_it(tool) or NAME in args:
        return False
    if not is_granted(tool):
        raise ToolError(_REFUSED)
    return True


def may_call_server(tool: ToolRow) -> bool:
    return is_granted(tool) and (_counts_on_it(tool) or bool(_BY_ITSELF.search(tool["source_code"] or "")))


def packages_with_client(tool: ToolRow) -> Packages:
    """Those that the tool asks for, and the client where it gets one and names none itself."""
    own = packages_of(tool["source_type"], tool["pip_requirements"], tool["npm_requirements"])
    if own.language != "python" or not may_call_server(tool) or any(map(_OWN_PACKAGE.match, own.names)):
        return own
    return Packages("python", (*own.names, CLIENT_PACKAGE))


@contextmanager
def server_for(context: ToolContext, tool: ToolRow) -> Iterator[Server | None]:
    """For one call of the tool; None where it calls nobody here. Gives the database connection back."""
    if not may_call_server(tool):
        release_connection()
        yield None
        return
    seconds = 2 * (tool["timeout_s"] or settings.SANDBOX_TIMEOUT_S) + 60  # its packages may have to be installed
    with tool_keys.held(_holder(context), seconds) as key:
        release_connection()
        address = urlsplit(settings.SANDBOX_API_URL)
        yield Server(address.hostname or "", address.port or 80, key)


def _counts_on_it(tool: ToolRow) -> bool:
    return tool["source_type"] != "typescript" and counts_on_client(tool["source_code"] or "", tool["name"])


def _holder(context: ToolContext) -> tool_keys.Holder:
    calls: Any = context.model_calls
    return tool_keys.Holder(
        organization_id=context.organization_id,
        agent_id=context.agent_id,
        project_id=calls.project_id if calls else "",
        api_key_id=calls.api_key_id if calls else "",
        depth=context.depth,
    )
