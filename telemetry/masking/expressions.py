"""An organization's own regular expressions: what is refused before it can do harm.

An expression is tried on texts made to make it run away; what passes and runs away all the same is stopped by the clock
while masking, and costs the payload (`masker.CUSTOM_BUDGET_S`).
"""

from __future__ import annotations

import re
from typing import Any

import regex

MAX_RULES, MAX_LENGTH = 20, 200
NAME = re.compile(r"[a-z][a-z0-9_-]{0,29}")
TRIAL_S = 0.05
TRIALS = tuple(
    unit * 400 + end for unit in ("a", "1", " ", "a ", "ab1", "x@", ".-", "aA0_") for end in ("", "!", "\n!")
)


def refusal(rules: Any) -> str:
    """Why these rules are not taken, with the mend; "" when they are."""
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        return 'Give a list of {"name": …, "pattern": …}.'
    if len(rules) > MAX_RULES:
        return f"{MAX_RULES} expressions at most: join some with “|”."
    names = [rule.get("name") for rule in rules]
    if len(set(map(str, names))) < len(names):
        return "Two expressions have one name: give each its own, it stands in the text."
    for rule in rules:
        if said := _wrong(rule):
            return said
    return ""


def _wrong(rule: dict[str, Any]) -> str:
    name, pattern = rule.get("name"), rule.get("pattern")
    if set(rule) != {"name", "pattern"} or not isinstance(name, str) or not NAME.fullmatch(name):
        return f"{name!r} is no name: small letters, digits, - and _, 30 at most."
    if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_LENGTH:
        return f"{name}: an expression has 1 to {MAX_LENGTH} signs."
    try:
        compiled = regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        return f"{name} is no regular expression: {str(error)[:200]}"
    try:
        for text in ("", *TRIALS):
            found = compiled.search(text, timeout=TRIAL_S)
            if found and found.end() == found.start():
                return f"{name} also fits where nothing stands: it would mask everywhere. Ask for at least one sign."
            for _ in compiled.finditer(text, timeout=TRIAL_S):
                pass
    except TimeoutError:
        return f"{name} runs away on long texts: repeat nothing that is itself repeated, as in (a+)+."
    return ""
