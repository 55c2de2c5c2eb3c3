"""AdaRound: whether each weight of a layer is rounded up or down is learned from what the layer reads and should give.

    w~   = step * clamp(floor(w / step) + h(v), lowest, highest)
    h(v) = clamp(1.2 sigmoid(v) - 0.1, 0, 1)
    loss = |f(y) - f(x w~ + b)|^2 / (the same with every weight rounded to the nearest)
           + PULL * mean(1 - |2 h(v) - 1|^beta)

x is what the quantized network gives the layer, y what the float layer gives in the float network, f the activation
function behind it. The second term, absent from the first 20 % of the iterations, draws every h(v) to 0 or 1 while beta
falls from 20 to 2. Source: Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization"
(arXiv:2004.10568), sections 3.2 to 3.4. Ours: both terms are relative, so that one PULL suits layers of every size and
scale; fewer iterations at a larger rate; a channel whose learned rounding is no better than the nearest keeps that one.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

STRETCH, OFFSET = 1.2, -0.1
WARM_START = 0.2
BETAS = (20.0, 2.0)
PULL = 10.0
ROWS = 1024
"""Rows of samples in an iteration."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What a layer reads in the quantized network, and gives in the float one; G groups of a grouped convolution.

    Attributes:
        inputs: float32 (G, n, K).
        outputs: float32 (G, n, O): before the activation function, bias included.
        bias: float32 (G, 1, O).
        bounds: of the activation function behind the layer: (0, inf) a ReLU, (0, 6) a ReLU6, (-inf, inf) none.
    """

    inputs: Tensor
    outputs: Tensor
    bias: Tensor
    bounds: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How the weights of a layer are rounded.

    Attributes:
        codes: float32 (G, O, K): whole numbers of steps, zero point not included.
        nearest_error: mean squared error of the layer's outputs with every weight rounded to the nearest.
        error: with the codes.
    """

    codes: Tensor
    nearest_error: float
    error: float


@torch.enable_grad()
def learn_rounding(
    weight: Tensor,
    step: Tensor,
    limits: tuple[Tensor, Tensor],
    samples: Samples,
    *,
    iterations: int,
    learning_rate: float,
    generator: torch.Generator,
) -> Rounding:
    """Return the learned rounding; a weight that is zero stays zero.

    Args:
        weight: float32 (G, O, K).
        step: what broadcasts to the weight.
        limits: the lowest and the highest whole number of steps, each broadcasting to the weight.
        samples: their rows are taken in a random order, `ROWS` at a time.
        iterations: of Adam.
        learning_rate: of Adam, for v.
        generator: of the random order, on the CPU.
    """
    steps = weight / step
    nearest = steps.round().clamp(*limits)
    down = steps.floor()
    kept = weight == 0
    order = torch.randperm(samples.inputs.shape[1], generator=generator).to(weight.device)
    samples = Samples(
        inputs=samples.inputs[:, order], outputs=samples.outputs[:, order], bias=samples.bias, bounds=samples.bounds
    )
    nearest_errors = _errors(nearest * step, samples)
    unit = float(nearest_errors.mean())
    if unit == 0.0:
        return Rounding(codes=nearest, nearest_error=0.0, error=0.0)
    v = _inverse(steps - down).requires_grad_()
    adam = torch.optim.Adam([v], lr=learning_rate)
    for iteration in range(iterations):
        up = _rectified(v).masked_fill(kept, 0.0)
        loss = _errors((down + up).clamp(*limits) * step, _batch(samples, iteration)).mean() / unit
        if (beta := _beta(iteration / iterations)) is not None:
            loss = loss + PULL * (1 - (2 * up - 1).abs().pow(beta)).mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        adam.step()
    with torch.no_grad():
        learned = (down + (v > 0).masked_fill(kept, False)).clamp(*limits)  # h(0) = 1/2
        errors = _errors(learned * step, samples)
        codes = torch.where((errors < nearest_errors).unsqueeze(-1), learned, nearest)
    return Rounding(codes=codes, nearest_error=unit, error=float(errors.minimum(nearest_errors).mean()))


def _errors(weight: Tensor, samples: Samples) -> Tensor:
    """Return the mean squared error of each output (G, O) behind the activation function."""
    given = torch.baddbmm(samples.bias, samples.inputs, weight.mT)
    return (given.clamp(*samples.bounds) - samples.outputs.clamp(*samples.bounds)).square().mean(dim=1)


def _batch(samples: Samples, iteration: int) -> Samples:
    """Return the next rows; the last ones of a round are fewer."""
    rows = samples.inputs.shape[1]
    start = iteration % math.ceil(rows / ROWS) * ROWS
    here = slice(start, start + ROWS)
    return Samples(
        inputs=samples.inputs[:, here], outputs=samples.outputs[:, here], bias=samples.bias, bounds=samples.bounds
    )


def _rectified(v: Tensor) -> Tensor:
    """Return h(v) of the module docstring."""
    return (v.sigmoid() * STRETCH + OFFSET).clamp(0.0, 1.0)


def _inverse(h: Tensor) -> Tensor:
    """Return the v with h(v) = h, for h in 0-1."""
    return torch.logit((h - OFFSET) / STRETCH)


def _beta(share: float) -> float | None:
    """Return the exponent after a share (0-1) of the iterations: a cosine from 20 to 2; None in the warm start."""
    if share < WARM_START:
        return None
    high, low = BETAS
    return low + (high - low) / 2 * (1 + math.cos(math.pi * (share - WARM_START) / (1 - WARM_START)))
