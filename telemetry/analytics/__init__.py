"""What calls cost and how they went, by any two dimensions and over time.

    question = Question("org-…", start, end, dimensions=("model", "agent"), interval="day", filters={"is_byok": "true"})
    usage(question), latency(question)

The parts: `dimensions` (what can be asked by), `question` (what is asked, checked), `sources` (which tables can answer
it), `answers` (the asking). Values are bound by the server; names come from fixed tables.
"""

from telemetry.analytics.answers import LatencyGroup, UsageGroup, latency, usage
from telemetry.analytics.dimensions import DIMENSIONS, Dimension
from telemetry.analytics.question import INTERVALS, ORDERS, Question, interval_starts

__all__ = (
    "DIMENSIONS",
    "INTERVALS",
    "ORDERS",
    "Dimension",
    "LatencyGroup",
    "Question",
    "UsageGroup",
    "interval_starts",
    "latency",
    "usage",
)
