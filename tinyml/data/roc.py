"""The area under the receiver operating characteristic, by ranks.

With ranks r of the scores (ties share their mean rank), n1 anomalous and n0 normal examples:
AUC = (sum of r over the anomalous - n1 (n1 + 1) / 2) / (n1 n0): the share of (anomalous, normal) pairs in which the
anomalous one scores higher, a tie counting half (Hanley & McNeil 1982).
"""

import numpy as np

from tinyml.errors import DataError


def roc_auc(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """Return the AUC, 0-1, of scores (N,) against truth (N,) of 0 or 1.

    Raises:
        DataError: where all examples are of one kind, or a score is NaN.
    """
    positives = int(np.count_nonzero(anomalous))
    negatives = len(anomalous) - positives
    if not positives or not negatives:
        raise DataError(f"AUC needs normal and anomalous examples; there are {negatives} and {positives}.")
    if np.isnan(scores).any():
        raise DataError(f"AUC of {np.count_nonzero(np.isnan(scores))} NaN among {len(scores)} scores is not defined.")
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[group]
    rank_sum = float(ranks[np.asarray(anomalous) != 0].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
