"""A discount or a margin as a row of an organization's prices, and as an operator enters it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.forms import modelform_factory

from providers.admin import PriceForm
from providers.models import PriceOverride
from providers.pricing import Purchase, price
from providers.usage import Usage

FIELDS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "factor")
BOUGHT = Purchase(provider_type="openai", model="gpt-5.2", at=datetime(2026, 11, 20, 12, tzinfo=UTC))


def errors(**sent: Any) -> dict[str, Any]:
    form = modelform_factory(PriceOverride, form=PriceForm, fields=("model", *FIELDS, "valid_from", "valid_to"))
    return dict(form({"model": "gpt-5.2", **sent}).errors)


def test_a_row_with_a_factor_alone_is_a_discount_on_the_published_price() -> None:
    row = PriceOverride(model="*", factor=Decimal("0.9"))
    found = price(Usage(input=1_000_000), BOUGHT, [row.as_override()])
    assert (found.cost_usd, found.factor) == (Decimal("1.575"), Decimal("0.9"))


def test_a_row_with_rates_and_a_factor_multiplies_them() -> None:
    row = PriceOverride(model="*", input=Decimal(2), output=Decimal(8), factor=Decimal("1.15"))
    found = price(Usage(input=1_000_000, output=1_000_000), BOUGHT, [row.as_override()])
    assert (found.cost_usd, found.source) == (Decimal("11.50"), "override")


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        ({"input": "1", "output": "2"}, set()),
        ({"input": "0", "output": "0"}, set()),
        ({"factor": "0.9"}, set()),
        ({"input": "1", "output": "2", "factor": "0.9"}, set()),
        ({}, {"factor"}),
        ({"factor": "1"}, {"factor"}),
        ({"output": "2", "factor": "0.9"}, {"input"}),
        ({"input": "1", "output": "2", "factor": "-1"}, {"factor"}),
        ({"input": "nonsense", "output": "2"}, {"input"}),
    ],
)
def test_the_form_takes_prices_or_a_factor_and_nothing_without_effect(sent: dict[str, str], wrong: set[str]) -> None:
    assert set(errors(**sent)) == wrong
