"""A server's tool run for an agent in its turn, and the result of one that somebody ran by hand."""

from __future__ import annotations

from agents.mcp.calls import Returned
from agents.mcp.models import McpTool
from agents.schemas.tools import ToolExecutionResult
from agents.tools.execute import limit_return


def executed(row: McpTool, returned: Returned) -> ToolExecutionResult:
    text = limit_return(returned.text, row.tool.return_char_limit)
    if returned.failed:
        return ToolExecutionResult(status="error", func_return=text, stderr=[text])
    return ToolExecutionResult(status="success", func_return=text)
