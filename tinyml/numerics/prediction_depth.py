"""Prediction depth: how many layers a network needs for its answer to an example.

    depth = min { d : probe_l = answer for all l >= d }     0 <= d <= L

for probes l = 0 ... L - 1, from the input to the output. Probes that agree from the input on give depth 0; where even
the last one disagrees the depth is L. Source: Baldock, Maennel, Neyshabur 2021, "Deep Learning Through the Lens of
Example Difficulty" (arXiv:2106.09647), section 2; it does not say what a disagreeing last probe gives.
"""

from torch import Tensor


def prediction_depths(probes: Tensor, answers: Tensor) -> Tensor:
    """Return int64 (N,), 0 to L: the first probe from which on every probe gives the network's own answer.

    Args:
        probes: classes (L, N), from the input to the output.
        answers: classes (N,) that the network gives.
    """
    agreeing = (probes == answers).long().flip(0).cumprod(dim=0).sum(dim=0)
    return len(probes) - agreeing
