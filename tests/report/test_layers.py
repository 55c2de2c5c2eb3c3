"""Two profiles side by side."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tinyml.analysis.onnx_weights import LayerWeights
from tinyml.measure.profile import Layer, Profile
from tinyml.report.layers import layer_rows


def profile(*layers: Layer) -> Profile:
    return Profile(
        path=Path("m.onnx"), layers=layers, unattributed=(), run_ms=1.0, not_counted=(), threads=1, provider="CPU"
    )


def node(name: str, macs: int) -> Layer:
    return Layer(
        name=name,
        operator="Conv",
        output_shape=(1, 16, 8, 8),
        parameters=2,
        macs=macs,
        activation_bytes=4,
        latency_ms=0.5,
    )


def weights(*nodes: str) -> dict[str, LayerWeights]:
    array = np.ones(1, dtype=np.float32)
    return {"conv1": LayerWeights(name="conv1", operator="Conv", nodes=nodes, values=array, stored=array)}


def test_layers_are_matched_by_their_weights_though_nodes_change_names() -> None:
    row = layer_rows(profile(node("a", 10)), profile(node("b", 5)), weights("a"), weights("b"))[0]
    assert (row.name, row.shape, row.before.macs, row.after.macs) == ("conv1", (16, 8, 8), 10, 5)


def test_a_layer_that_is_called_twice_costs_both_calls() -> None:
    row = layer_rows(profile(node("a", 10), node("b", 10)), profile(), weights("a", "b"), {})[0]
    assert row.before.macs == 20


def test_what_has_no_weights_is_summed_in_the_last_row() -> None:
    rest = layer_rows(profile(node("a", 1), node("add", 3), node("pool", 4)), profile(), weights("a"), {})[-1]
    assert (rest.name, rest.before.macs, rest.before.latency_ms) == ("all other operators", 7, 1.0)


def test_a_layer_that_is_gone_costs_an_unknown_amount() -> None:
    row = layer_rows(profile(node("a", 1)), profile(), weights("a"), {})[0]
    assert (row.after.macs, row.after.stored) == (None, "")


def test_the_form_of_the_weights_is_told_on_both_sides() -> None:
    packed = {name: replace(layer, packed="4-bit codebook") for name, layer in weights("b").items()}
    row = layer_rows(profile(node("a", 1)), profile(node("b", 1)), weights("a"), packed)[0]
    assert (row.before.stored, row.after.stored) == ("float32", "4-bit codebook")
