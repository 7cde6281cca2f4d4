"""Agents, their memory, tools and archives in the admin."""

from agents.admin import agent_admin, archive_admin, block_admin, home, key_spend, mcp_admin, tool_admin

__all__ = ["agent_admin", "archive_admin", "block_admin", "home", "key_spend", "mcp_admin", "tool_admin"]
