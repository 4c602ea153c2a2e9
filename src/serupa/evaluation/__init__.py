"""How good a search is: measures, intervals, the paper's protocol, figures and a report.

Everything here works on arrays and plain functions, with or without a catalogue.
"""

from serupa.evaluation.protocol import (
    Comparison,
    EmbeddedItems,
    Estimate,
    Evaluation,
    MetricResult,
    evaluate,
)
from serupa.evaluation.ranking import ArrayRanker, Neighbors, Ranker
from serupa.paper.selection import Selection, select_classes

__all__ = [
    "ArrayRanker",
    "Comparison",
    "EmbeddedItems",
    "Estimate",
    "Evaluation",
    "MetricResult",
    "Neighbors",
    "Ranker",
    "Selection",
    "evaluate",
    "select_classes",
]
