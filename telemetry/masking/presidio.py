"""Presidio as an analyzer: names, places and whatever its recognizers know. Needs requirements-presidio.txt."""

from __future__ import annotations

from collections.abc import Iterable

MEND = "Presidio is not installed: pip install -r requirements-presidio.txt, and give spaCy a model."
MIN_SCORE = 0.5
# What our own rules find, better and faster, or what is no personal data.
NOT_ASKED = frozenset({"URL", "DATE_TIME", "NRP"})


class Presidio:
    """Made once a process: its models take seconds to load."""

    def __init__(self) -> None:
        try:
            from presidio_analyzer import AnalyzerEngine
        except ImportError as error:
            raise ImportError(MEND) from error
        self._engine = AnalyzerEngine()
        self._entities = sorted(set(self._engine.get_supported_entities(language="en")) - NOT_ASKED)

    def spans(self, text: str) -> Iterable[tuple[int, int, str]]:
        found = self._engine.analyze(text=text, language="en", entities=self._entities, score_threshold=MIN_SCORE)
        return [(one.start, one.end, one.entity_type) for one in found]
