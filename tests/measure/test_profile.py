import json

import pytest

from tinyml.errors import CheckpointError, TinymlError
from tinyml.measure import profile
from tinyml.measure.network import read_network
from tinyml.measure.profile import describe_layers, profile_file
from tinyml.runtime.node_profile import NodeTime, RuntimeProfile


def ran(name, operator, milliseconds):
    return NodeTime(name=name, operator=operator, provider="CPUExecutionProvider", median_ms=milliseconds, runs=1)


def described(path, *nodes):
    times = RuntimeProfile(nodes=nodes, run_ms=9.0)
    return describe_layers(read_network(path), times, threads=1, provider="CPUExecutionProvider")


def test_each_layer_has_its_shape_parameters_macs_and_bytes(convolution):
    conv, relu, *_, linear = described(convolution).layers
    assert (conv.name, conv.operator, conv.output_shape) == ("conv", "Conv", (1, 4, 8, 8))
    assert (conv.parameters, conv.macs, conv.activation_bytes) == (4 * 3 * 9 + 4, 4 * 64 * 27, 4 * 64 * 4)
    assert (relu.parameters, relu.macs) == (0, 0)
    assert (linear.parameters, linear.macs) == (10, 8)


def test_a_fused_convolution_gets_the_time_that_carries_its_activations_name(convolution):
    conv, relu, *_ = described(convolution, ran("z_nchwc", "Conv", 0.5)).layers
    assert (conv.latency_ms, conv.runs_as) == (0.5, "Conv")
    assert (relu.latency_ms, relu.runs_as) == (0.0, "")


def test_what_belongs_to_no_node_is_listed(convolution):
    profile = described(convolution, ran("ReorderOutput", "ReorderOutput", 0.1), ran("linear", "Gemm", 0.2))
    assert [node.name for node in profile.unattributed] == ["ReorderOutput"]
    assert profile.layers[-1].latency_ms == 0.2


def test_integer_operators_are_laid_to_the_float_ones_they_replace(quantized):
    layers = {layer.name: layer for layer in described(quantized, ran("conv_token_3", "QLinearConv", 0.3)).layers}
    assert (layers["conv"].runs_as, layers["conv"].latency_ms) == ("QLinearConv", 0.3)
    assert set(layers) == {"conv", "relu", "mean"}  # quantizers that cost nothing are left out


def test_a_layer_that_writes_bytes_is_counted_in_bytes(quantized):
    # conv and its Relu hand 2 x 4 x 4 values on as uint8; the mean is float32
    layers = {layer.name: layer.activation_bytes for layer in described(quantized).layers}
    assert layers == {"conv": 2 * 16, "relu": 2 * 16, "mean": 2 * 4}


def test_a_dequantizer_that_runs_by_itself_writes_floats(quantized):
    layers = described(quantized, ran("x", "DequantizeLinear", 0.1)).layers
    assert layers[0].activation_bytes == 16 * 4


@pytest.mark.parametrize("which", ["convolution", "quantized"])
def test_a_real_profile_accounts_for_every_convolution(which, request):
    profile = profile_file(request.getfixturevalue(which), runs=3)
    assert {layer.operator: layer.runs_as for layer in profile.layers}["Conv"] in ("Conv", "QLinearConv", "FusedConv")
    assert json.loads(json.dumps(profile.to_json()))["threads"] == 1


def test_a_file_that_fails_while_it_is_profiled_was_not_refused(convolution, monkeypatch):
    def failing(*given, **settings):
        raise CheckpointError("it failed on a later input")

    monkeypatch.setattr(profile, "profile_nodes", failing)
    with pytest.raises(TinymlError, match="a later input") as raised:
        profile_file(convolution)
    assert raised.value.exit_code == 1
