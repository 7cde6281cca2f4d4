"""Several searches made one by reciprocal rank fusion: who stands high in one list, or well in several, comes first."""

from __future__ import annotations

from collections.abc import Sequence

SMOOTHING = 60  # as in Cormack, Clarke and Büttcher, SIGIR 2009


def places(found: Sequence[str]) -> dict[str, int]:
    """Of each id its place in a list that has the best first, from 1 on."""
    return {pk: place for place, pk in enumerate(found, 1)}


def fused(*lists: Sequence[str]) -> dict[str, float]:
    """The scores of all ids of the lists, the best first; of equals, who came first."""
    scores: dict[str, float] = {}
    for found in lists:
        for pk, place in places(found).items():
            scores[pk] = scores.get(pk, 0.0) + 1 / (SMOOTHING + place)
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
