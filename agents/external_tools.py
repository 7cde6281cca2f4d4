"""The tools of this room that act outside the database: imported at start-up, see `agents.tools.external`."""

from __future__ import annotations

from agents.mcp import running
from agents.tools import custom
from agents.tools.builtins import code, page, search
from agents.tools.external import register

register(custom.CUSTOM)
register(running.MCP)
register(code.RUN_CODE)
register(search.WEB_SEARCH)
register(page.FETCH_WEBPAGE)
