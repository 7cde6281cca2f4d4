"""A server's tool run in an agent's turn."""

from __future__ import annotations

from agents.mcp.calls import call
from agents.mcp.models import McpTool
from agents.models import ToolType
from agents.tools.base import Args, ToolContext, ToolError
from agents.tools.external import ExternalReturn, ExternalTool, ToolRow
from agents.tools.variables import variables_of


def run_mcp(context: ToolContext, tool: ToolRow, args: Args) -> ExternalReturn:
    row = McpTool.objects.filter(tool_id=tool["id"], server__organization_id=context.organization_id)
    found = row.select_related("server").first()
    if found is None:
        raise ToolError("the MCP server of this tool was deleted")
    returned = call(found, args, variables_of(context.agent_id), context.abandoned)
    return ExternalReturn(content=returned.text, is_error=returned.failed)


def is_repeatable(tool: ToolRow) -> bool:
    """Where its server says that it changes nothing, or the same thing however often it is called."""
    return (tool["metadata"].get("mcp") or {}).get("repeatable") is True


MCP = ExternalTool(ToolType.EXTERNAL_MCP, run_mcp, is_repeatable)
