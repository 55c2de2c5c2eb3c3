"""tinyml/architecture.py: a model is rebuilt from a factory, a list of edits and its weights."""

import json

import pytest
import torch
import user_models
from pydantic import ValidationError
from random_task import quantized, random_task, trained
from torch import Tensor, nn

from tinyml.architecture import (
    Architecture,
    CaptureGraph,
    FoldBatchNorm,
    HalfPrecision,
    MaskWeights,
    QuantizeActivations,
    QuantizeStandalone,
    QuantizeWeights,
    build,
)
from tinyml.errors import ModelError
from tinyml.layers.half import HalfPrecisionNetwork
from tinyml.layers.mask import masks
from tinyml.numerics.sparsity import NOfM

IMAGE = (3, 32, 32)
EVERY_EDIT = Architecture(
    model="user_models:mixed",
    model_args={"classes": 4},
    input_shape=IMAGE,
    edits=(
        CaptureGraph(),
        FoldBatchNorm(pairs=(("stem", "stem_norm"),)),
        MaskWeights(modules=("stem",), structure="unstructured", ramp=0.75),
        MaskWeights(modules=("twice", "head"), structure=NOfM(keep=2, of=4), ramp=0.0),
        QuantizeActivations(groups=(("x",), ("relu", "pool")), q_min=0, q_max=255),
        QuantizeStandalone(modules=("head",), q_min=-128, q_max=127),
        QuantizeWeights(modules=("stem", "head"), q_min=-64, q_max=64),
        HalfPrecision(),
    ),
)


def test_an_architecture_survives_json():
    text = EVERY_EDIT.model_dump_json()
    assert Architecture.model_validate_json(text) == EVERY_EDIT
    assert [edit["edit"] for edit in json.loads(text)["edits"]] == [
        "capture",
        "fold_batch_norm",
        "mask_weights",
        "mask_weights",
        "quantize_activations",
        "quantize_standalone",
        "quantize_weights",
        "half_precision",
    ]


@pytest.mark.parametrize("factory", ["mixed", "data_dependent", "encoder"])
def test_a_rebuilt_model_with_the_saved_weights_computes_the_same(factory: str):
    torch.manual_seed(0)
    after = quantized(trained(getattr(user_models, factory)()), IMAGE, factory=f"user_models:{factory}")
    rebuilt = build(Architecture.model_validate_json(after.architecture.model_dump_json()))
    rebuilt.load_state_dict(after.module.state_dict(), strict=True)
    x = torch.from_numpy(random_task(IMAGE).train.x[:4])
    with torch.no_grad():
        assert torch.equal(rebuilt(x), after.module(x))


def test_a_built_model_is_in_eval_mode_with_its_arguments():
    model = build(Architecture(model="user_models:mixed", model_args={"classes": 4}, input_shape=IMAGE))
    assert not model.training
    assert model.get_submodule("head").out_features == 4


def test_half_precision_wraps_what_was_built_so_far():
    model = build(Architecture(model="user_models:mixed", input_shape=IMAGE, edits=(CaptureGraph(), HalfPrecision())))
    assert isinstance(model, HalfPrecisionNetwork)


@pytest.mark.parametrize(
    "edit",
    [{"edit": "prune_everything"}, {"edit": "capture", "extra": 1}, {"edit": "quantize_weights", "modules": ["a"]}, {}],
    ids=["an unknown edit", "an unknown key", "a missing key", "no edit"],
)
def test_an_edit_that_is_not_understood_is_refused(edit: dict):
    with pytest.raises(ValidationError, match="edit"):
        Architecture.model_validate({"model": "m", "input_shape": [1], "edits": [edit]})


@pytest.mark.parametrize("fault", [{"version": 2}, {"weights": "evil.pkl"}, {"edits": "none"}])
def test_a_file_of_another_form_is_refused(fault: dict):
    with pytest.raises(ValidationError):
        Architecture.model_validate({"model": "m", "input_shape": [1], **fault})


@pytest.mark.parametrize(
    "edit", [FoldBatchNorm(pairs=()), QuantizeActivations(groups=(), q_min=0, q_max=255)], ids=["fold", "quantize"]
)
def test_an_edit_of_a_graph_needs_a_captured_model(edit):
    with pytest.raises(TypeError, match="needs a captured model"):
        edit.apply(nn.Linear(1, 1))


def test_an_unknown_factory_is_refused():
    with pytest.raises(ModelError, match="mixd"):
        build(Architecture(model="user_models:mixd", input_shape=IMAGE))


@pytest.mark.parametrize(
    "edit",
    [
        FoldBatchNorm(pairs=(("stem", "gone"),)),
        MaskWeights(modules=("gone",), structure="unstructured", ramp=0.0),
        QuantizeActivations(groups=(("gone",),), q_min=0, q_max=255),
        QuantizeStandalone(modules=("gone",), q_min=0, q_max=255),
        QuantizeWeights(modules=("gone",), q_min=-64, q_max=64),
    ],
    ids=lambda edit: edit.edit,
)
def test_a_factory_that_changed_since_is_refused(edit):
    changed = Architecture(model="user_models:mixed", input_shape=IMAGE, edits=(CaptureGraph(), edit))
    with pytest.raises(ModelError, match=f"does not build the model that was compressed: {edit.edit} fails.*gone"):
        build(changed)


def test_the_nodes_of_a_group_share_one_grid():
    model = build(EVERY_EDIT).wrapped_network
    quantizers = [name for name, _ in model.get_submodule("activation_quantizers").named_children()]
    assert quantizers == ["x_grid", "relu_grid"]
    targets = [str(node.target) for node in model.graph.nodes if "activation_quantizers" in str(node.target)]
    assert targets == ["activation_quantizers.x_grid", *["activation_quantizers.relu_grid"] * 2]


@pytest.mark.parametrize("name", ["values", "keys", "items", "pop"])
def test_a_layer_may_be_called_as_a_method_of_a_container(name: str):
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(name, nn.Conv2d(3, 2, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.get_submodule(name)(x)

    quantizers = quantized(Named(), (3, 8, 8)).module.get_submodule("activation_quantizers")
    assert f"{name}_grid" in dict(quantizers.named_children())


def test_masks_are_rebuilt_with_their_structure_and_the_last_one_counts():
    edits = (*EVERY_EDIT.edits[2:4], MaskWeights(modules=("twice",), structure="unstructured", ramp=0.5))
    found = dict(masks(build(Architecture(model="user_models:mixed", input_shape=IMAGE, edits=edits))))
    assert {name: (str(mask.structure), mask.ramp) for name, mask in found.items()} == {
        "stem": ("unstructured", 0.75),
        "twice": ("unstructured", 0.5),
        "head": ("2:4", 0.0),
    }


def test_a_mask_on_a_weight_that_is_computed_since_is_refused():
    edits = (
        QuantizeWeights(modules=("head",), q_min=-64, q_max=64),
        MaskWeights(modules=("head",), structure="unstructured", ramp=0.0),
    )
    with pytest.raises(ModelError, match="mask_weights fails with its weight is computed by something else"):
        build(Architecture(model="user_models:mixed", input_shape=IMAGE, edits=edits))
