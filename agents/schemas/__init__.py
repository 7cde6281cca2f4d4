"""The shapes of agents, blocks, tools and passages on the wire of `/v1`."""
