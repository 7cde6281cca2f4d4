"""Presidio as an analyzer: names, places and whatever its recognizers know. Needs requirements-presidio.txt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MODEL = "en_core_web_lg"
MEND = "Presidio is not installed: pip install -r requirements-presidio.txt, and give spaCy a model."
NO_MODEL = "spaCy has no model {0}: python -m spacy download {0}, or name another one: TRACE_ANALYZER=presidio:<model>."
MIN_SCORE = 0.5
LONGEST = 20_000
# What the policy's own rules are for (and its people may have unticked), what is no personal data, and organizations,
# which Presidio's own defaults leave out too: code is full of them. Its recognizer of email addresses would also fetch
# a list of domains from the internet while a call is recorded.
NOT_ASKED = frozenset({"DATE_TIME", "ID", "NRP", "ORGANIZATION", "URL", "UUID"}) | frozenset(
    {"CREDIT_CARD", "EMAIL", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "PHONE_NUMBER", "US_SSN"}
)


class Presidio:
    """Made once a process: its models take seconds to load. `model`: a package of spaCy, or a directory."""

    def __init__(self, model: str = MODEL) -> None:
        try:
            import spacy.util
            from presidio_analyzer import AnalyzerEngine
            from presidio_analyzer.nlp_engine import NlpEngineProvider
        except ImportError as error:
            raise ImportError(MEND) from error
        # Presidio would otherwise download it by pip in a running server, and end the process where it cannot.
        if not spacy.util.is_package(model) and not Path(model).is_dir():
            raise ImportError(NO_MODEL.format(model))
        engine = NlpEngineProvider(nlp_configuration=_settings(model)).create_engine()
        self._engine = AnalyzerEngine(nlp_engine=engine)
        self._entities = sorted(set(self._engine.get_supported_entities(language="en")) - NOT_ASKED)

    def spans(self, text: str) -> Iterable[tuple[int, int, str]]:
        """Raises ValueError on a text that would hold up the worker for seconds."""
        if len(text) > LONGEST:
            raise ValueError(f"longer than {LONGEST} signs")
        found = self._engine.analyze(text=text, language="en", entities=self._entities, score_threshold=MIN_SCORE)
        return [(one.start, one.end, one.entity_type) for one in found]


def _settings(model: str) -> dict[str, object]:
    return {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
