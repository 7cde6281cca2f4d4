"""Amounts as text: JSON numbers are not exact, and 5.000000000000 reads badly."""

from __future__ import annotations

from decimal import Decimal


def as_text(amount: Decimal) -> str:
    """All its digits, without an exponent and without padding: 5, 0.00021."""
    return f"{amount.normalize():f}"
