"""Who an agent is, and how one thinks."""
