"""Conversations, runs and steps in the admin."""

from conversations.admin import conversation_admin, home, ledger_admin, outage, run_admin, step_admin, webhooks

__all__ = ["conversation_admin", "home", "ledger_admin", "outage", "run_admin", "step_admin", "webhooks"]
