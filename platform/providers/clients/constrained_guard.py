"""What keeps a small model from saving what nobody said: which messages may be saved at all, and what of them.

English only. Measured without it: a model asked "What is my name?" saved "The user's name is Peter".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import orjson

Leaning = Literal["never", "always", "perhaps"]

_DATA: dict[str, Any] = orjson.loads((Path(__file__).parents[1] / "data" / "constrained_guard.json").read_bytes())


def _any(name: str) -> str:
    return "(?:" + "|".join(_DATA[name]) + ")"


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_FILLERS = rf"(?:{_any('fillers')}[,!. ]+)*"
_ASKED_TO = _pattern(rf"\b{_any('asked_to')}(?!\w)")
_POLITE = _pattern(rf"\b(?:can|could|will|would) you (?:please )?{_any('wish')} (?:that|it|this|my)\b")
_STATES = _pattern(rf"\b{_any('states')}\b")
_ASKS = _pattern(rf"^{_FILLERS}{_any('asks')}\b")
_SMALL_TALK = _pattern(rf"^{_any('small_talk')}(?:,? {_any('small_talk_more')})*[.! ]*$")
_LOOKS_BACK = _pattern(rf"\b{_any('looks_back')}\b")
_CHANGES = _pattern(rf"\b{_any('changes')}\b")
_FIRST_PERSON = _pattern(r"\b(?:i|i['’]m|i['’]ve|my|me|mine)\b")
_LEAD = _pattern(rf"^{_FILLERS}(?:{_any('wish')}(?: (?:this|it|down))?(?:[:,]| that)? )?")
_TAIL = _pattern(rf"[,;]? (?:so |and )?(?:please )?{_any('wish_end')}(?: (?:it|that|this))?(?: down| in mind)?[.!]*$")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_FREE = frozenset(_DATA["free"].split())


def leaning(text: str) -> Leaning:
    """Whether a message is to be saved: a question never, a wish or a plain fact about the user always."""
    sentences = [sentence.strip() for sentence in _SENTENCE.findall(text) if sentence.strip()]
    told = [sentence for sentence in sentences if not is_question(sentence)]
    if _POLITE.search(text) or any(_ASKED_TO.search(s) or _STATES.search(s) for s in told):
        return "always"
    return "perhaps" if any(not _SMALL_TALK.match(sentence) for sentence in told) else "never"


def is_question(text: str) -> bool:
    return text.rstrip().endswith("?") or bool(_ASKS.match(text.strip()))


def looks_back(text: str) -> bool:
    """Whether a search of the past may be meant."""
    return bool(_LOOKS_BACK.search(text))


def changes_something(text: str) -> bool:
    """Whether what is known may have changed, so that a line is to be replaced."""
    return bool(_CHANGES.search(text))


def about_user(text: str) -> bool:
    return bool(_FIRST_PERSON.search(text))


def words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def is_faithful(fact: str, said: str) -> bool:
    """Whether every content word of a fact occurs in what was said: same word, or the same but for its ending."""
    content = [word for word in words(fact) if word not in _FREE]
    known = {_stem(word) for word in words(said)}
    return bool(content) and all(_occurs(_stem(word), known) for word in content)


def _occurs(word: str, known: set[str]) -> bool:
    if word in known:
        return True
    if len(word) < 5 or any(char.isdigit() for char in word):
        return False
    root = word[: max(4, len(word) - 3)]
    return any(other.startswith(root) and abs(len(other) - len(word)) <= 3 for other in known)


def overlaps(line: str, said: str) -> bool:
    """Whether a line of memory is about something that was mentioned."""
    known = {_stem(word) for word in words(said)}
    return any(_occurs(_stem(word), known) for word in words(line) if word not in _FREE)


def verbatim(said: str) -> str:
    """The sentences of a message that state something, in the user's own words, without the wish to save them."""
    kept = []
    for sentence in (found.strip() for found in _SENTENCE.findall(said)):
        bare = _TAIL.sub("", _LEAD.sub("", sentence, count=1)).strip(" ,")
        if bare and not is_question(sentence) and not _SMALL_TALK.match(bare) and len(words(bare)) > 1:
            kept.append(bare)
    stating = [sentence for sentence in kept if _STATES.search(sentence)]
    return " ".join(stating or kept) or said.strip()
