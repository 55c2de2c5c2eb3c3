from dataclasses import replace
from itertools import product
from math import inf

import pytest
import torch
from torch import Tensor

from tinyml.numerics.adaround import Rounding, Samples, learn_rounding

STEP = torch.tensor(0.5)
LIMITS = (torch.tensor(-7.0), torch.tensor(7.0))


def problem(groups: int, inputs: int, outputs: int, *, rows: int = 256) -> tuple[Samples, Tensor]:
    """Samples of layers whose inputs depend on each other, so that the nearest rounding is not the best; their weight."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.eye(inputs) + torch.randn(groups, inputs, inputs, generator=generator)
    mixed = torch.randn(groups, rows, inputs, generator=generator) @ mixing
    weight = torch.randn(groups, outputs, inputs, generator=generator)
    bias = torch.zeros(groups, 1, outputs)
    return Samples(inputs=mixed, outputs=mixed @ weight.mT, bias=bias, bounds=(-inf, inf)), weight


def learned(samples: Samples, weight: Tensor, iterations: int = 300) -> Rounding:
    generator = torch.Generator().manual_seed(0)
    return learn_rounding(weight, STEP, LIMITS, samples, iterations=iterations, learning_rate=0.05, generator=generator)


def errors(samples: Samples, codes: Tensor) -> Tensor:
    """Mean squared error of each output (G, O) of layers without an activation function, in float64."""
    found = samples.inputs.double() @ (codes.double() * 0.5).mT + samples.bias
    return (found - samples.outputs.double()).square().mean(dim=1)


def nearest(weight: Tensor) -> Tensor:
    return (weight / 0.5).round().clamp(-7, 7)


def test_twenty_layers_of_four_weights_come_near_the_best_of_all_sixteen_ways() -> None:
    """A relaxation may end beside the best corner; it must find it more often than not, and beat the nearest."""
    samples, weight = problem(20, 4, 1)
    ways = ((weight / 0.5).floor() + torch.tensor(way) for way in product((0.0, 1.0), repeat=4))
    best = torch.stack([errors(samples, way) for way in ways]).amin(dim=0)
    found = errors(samples, learned(samples, weight).codes)
    assert int(torch.isclose(found, best).sum()) > 10
    assert found.sum() < 1.2 * best.sum()
    assert errors(samples, nearest(weight)).sum() > 1.4 * best.sum()


def test_codes_are_whole_and_next_to_the_weight_and_within_the_limits() -> None:
    samples, weight = problem(2, 9, 5)
    weight = 3 * weight
    codes = learned(replace(samples, outputs=3 * samples.outputs), weight).codes
    assert torch.equal(codes, codes.round())
    assert bool((codes.abs() <= 7).all())
    assert bool(((codes - weight / 0.5).abs() < 1)[(weight / 0.5).abs() < 7].all())


def test_a_zero_stays_zero() -> None:
    samples, weight = problem(1, 8, 4)
    weight[..., ::2] = 0
    codes = learned(samples, weight).codes
    assert int(codes[..., ::2].count_nonzero()) == 0
    assert int((codes != nearest(weight))[..., 1::2].count_nonzero()) > 0


def test_no_output_is_worse_than_with_the_nearest_rounding() -> None:
    """Three iterations at this rate change roundings without having learned much."""
    samples, weight = problem(1, 16, 8)
    codes = learned(samples, weight, iterations=3).codes
    assert bool((errors(samples, codes) <= errors(samples, nearest(weight))).all())


def test_the_errors_are_those_of_the_codes() -> None:
    samples, weight = problem(1, 8, 4)
    found = learned(samples, weight)
    assert found.error == pytest.approx(float(errors(samples, found.codes).mean()), rel=1e-4)
    assert found.nearest_error == pytest.approx(float(errors(samples, nearest(weight)).mean()), rel=1e-4)


def test_what_a_relu_cuts_off_costs_nothing() -> None:
    samples, weight = problem(1, 4, 1)
    cut = replace(samples, bias=samples.bias - 1e4, outputs=samples.outputs - 1e4, bounds=(0.0, inf))
    found = learned(cut, weight)
    assert (found.nearest_error, found.error) == (0.0, 0.0)
    assert torch.equal(found.codes, nearest(weight))


@pytest.mark.parametrize(("bounds", "best"), [((-inf, inf), [0, 0, -6]), ((0.0, inf), [1, 0, -6])], ids=["no", "ReLU"])
def test_a_relu_changes_what_is_best(bounds: tuple[float, float], best: list[int]) -> None:
    """Of a row (1, 1, 0) 0.4 + 0.3 steps are best rounded to 1 + 0; of a row (10, -10, 10), whose output is negative, to
    0 + 0: its error is then 10 x 0.1 steps, else 10 x 0.9 at least."""
    weight = torch.tensor([[[0.2, 0.15, -3.0]]])
    inputs = torch.tensor([[1.0, 1.0, 0.0], [10.0, -10.0, 10.0]]).repeat(64, 1)[None]
    samples = Samples(inputs=inputs, outputs=inputs @ weight.mT, bias=torch.zeros(1, 1, 1), bounds=bounds)
    assert learned(samples, weight).codes.flatten().tolist() == best


def test_the_same_seed_gives_the_same_codes() -> None:
    samples, weight = problem(1, 16, 8, rows=3000)
    assert torch.equal(learned(samples, weight).codes, learned(samples, weight).codes)
