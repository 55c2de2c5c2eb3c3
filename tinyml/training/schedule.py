"""The learning rate of each step: a linear warm-up, then half a cosine down to zero over the rest of the run.

    factor(s) = (s + 1) / W                                  for s < W
    factor(s) = (1 + cos(pi (s - W) / (T - W))) / 2          for W <= s < T

with s the step counted from 0, T all steps of the run and W = round(warmup T) steps of warm-up. The period is the whole
run, counted in steps: a cosine whose period is in epochs, stepped per iteration, goes up and down all the time.
Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.
"""

import math


def learning_rate_factor(step: int, *, total_steps: int, warmup: float) -> float:
    """Return the share (above 0, at most 1) of the highest learning rate that step number `step` uses.

    Args:
        step: Number of the step, 0 to total_steps - 1.
        total_steps: Steps of the whole run.
        warmup: Share (0-1) of the run over which the learning rate rises.
    """
    warmup_steps = round(warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps))) / 2
