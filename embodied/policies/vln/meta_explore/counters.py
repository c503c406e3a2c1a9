"""Counting what decisions cost and how well the mode selector knows when to correct."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata


class DecisionCounters:
    """Running totals of one policy.

    Attributes:
        decisions: made in all.
        exploits: of them walks to a local goal.
        seconds: spent deciding, the network included.
        branches: how often each form of the rule was used.
        labels, scores: with privileged observations: whether a correction would have been right,
            and the mode selector's probability of one.
    """

    def __init__(self) -> None:
        self.decisions = self.exploits = 0
        self.seconds = 0.0
        self.branches: Counter[str] = Counter()
        self.labels: list[bool] = []
        self.scores: list[float] = []

    def record_label(self, label: bool, score: float) -> None:
        """Note what the mode selector said beside what was right."""
        self.labels.append(label)
        self.scores.append(score)

    def count_exploit(self, branch: str) -> None:
        """Count one walk to a local goal."""
        self.exploits += 1
        self.branches[branch] += 1

    def compute_metrics(self) -> dict[str, float]:
        """Milliseconds per decision, share of corrections; with labels the share of decisions
        where one was right, and the AUC.
        """
        count = max(1, self.decisions)
        found = {
            "decisions": float(self.decisions),
            "ms_per_decision": 1e3 * self.seconds / count,
            "exploit_share": self.exploits / count,
        }
        if self.labels:
            found["exploit_label_share"] = float(np.mean(self.labels))
            found["mode_auc"] = roc_auc_score(self.labels, self.scores)
        return found


def roc_auc_score(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve: the share of (positive, negative) pairs in the right
    order, ties counted half (Mann and Whitney, 1947); NaN without both kinds.

    Args:
        labels: (N,) bool.
        scores: (N,) higher for positives.
    """
    positive = np.asarray(labels, bool)
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        return float("nan")
    ranks = rankdata(np.asarray(scores, np.float64))
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))
