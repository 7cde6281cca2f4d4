"""An organization's own keys, the rules about them, and its prices in the admin."""

from providers.admin import key_rules, own_keys, prices
from providers.admin.prices import PriceForm

__all__ = ["PriceForm", "key_rules", "own_keys", "prices"]
