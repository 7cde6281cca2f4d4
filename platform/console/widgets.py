"""Form widgets of the console."""

from __future__ import annotations

from typing import Any

from unfold.widgets import UnfoldAdminTextInputWidget


class SecretInput(UnfoldAdminTextInputWidget):
    """Takes a secret and never gives it back, not even in a form that is shown again with its errors."""

    input_type = "password"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"autocomplete": "new-password", "spellcheck": "false", **(attrs or {})})

    def format_value(self, value: Any) -> None:
        return None
