"""Registers the admins of the rooms below this one."""

from console import accounts_admin, users_admin

__all__ = ["accounts_admin", "users_admin"]
