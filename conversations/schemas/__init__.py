"""The wire shapes of conversations, messages, runs and steps."""
