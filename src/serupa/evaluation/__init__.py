"""How good a search is: measures, intervals, the paper's protocol, figures and a report.

`measures`, `intervals`, `ranking` and `comparison` work on arrays and need nothing but NumPy: learning and
garments stand on them; `protocol` puts them together, `experiment` measures a catalogue.
"""

from serupa.evaluation.protocol import (
    Comparison,
    EmbeddedItems,
    Estimate,
    Evaluation,
    MetricResult,
    compare,
    evaluate,
)
from serupa.evaluation.ranking import ArrayRanker, Neighbors, Ranker

__all__ = [
    "ArrayRanker",
    "Comparison",
    "EmbeddedItems",
    "Estimate",
    "Evaluation",
    "MetricResult",
    "Neighbors",
    "Ranker",
    "compare",
    "evaluate",
]
