"""Tools of MCP servers: where they are, how they are reached, and the Tool rows that stand for them."""
