"""Batches, conversations, runs and steps in the admin."""

from conversations.admin import (
    batch_admin,
    conversation_admin,
    home,
    ledger_admin,
    outage,
    run_admin,
    step_admin,
    webhooks,
)

__all__ = ["batch_admin", "conversation_admin", "home", "ledger_admin", "outage", "run_admin", "step_admin", "webhooks"]
