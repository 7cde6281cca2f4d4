"""Takes secrets and personal data out of what was said, before it is written down. No Django, no disk, no network."""

from telemetry.masking.masker import CustomRule, Masker, MaskingFailed, masker_for
from telemetry.masking.rules import KINDS

__all__ = ["KINDS", "CustomRule", "Masker", "MaskingFailed", "masker_for"]
