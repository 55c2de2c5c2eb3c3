"""How a compressed model is rebuilt: a factory, its arguments, and a list of edits to replay on a fresh model.

The file architecture.json holds no code and no weights; the weights come from model.safetensors. A pass makes its
edits with the same `apply` that rebuilding uses, so a model loads as it was built.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from torch import fx, nn

from tinyml.errors import ModelError
from tinyml.graph.capture import capture
from tinyml.graph.channel_surgery import resize
from tinyml.graph.fold import fold
from tinyml.layers.channel_scale import scale_channels
from tinyml.layers.codebook import Following, attach_codebook
from tinyml.layers.exit_heads import ExitSpec, attach_exits
from tinyml.layers.half import HalfPrecisionNetwork
from tinyml.layers.mask import Structure, attach_mask
from tinyml.layers.quantizers import (
    ActivationQuantizer,
    Granularity,
    attach_standalone,
    attach_weight_quantizer,
)
from tinyml.models import create_model
from tinyml.numerics.affine import Grid
from tinyml.numerics.exit_thresholds import ExitGoal


class _Edit(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CaptureGraph(_Edit):
    """Trace the model into a graph."""

    edit: Literal["capture"] = "capture"

    def apply(self, model: nn.Module) -> nn.Module:
        """Return the traced model, or the model itself where it does not trace."""
        return capture(model).module


class FoldBatchNorm(_Edit):
    """Fold batch norms into the layers before them."""

    edit: Literal["fold_batch_norm"] = "fold_batch_norm"
    pairs: tuple[tuple[str, str], ...]

    def apply(self, model: nn.Module) -> nn.Module:
        """Fold in place."""
        if not isinstance(model, fx.GraphModule):
            raise TypeError("fold_batch_norm needs a captured model")
        fold(model, list(self.pairs), scale_behind=scale_channels)
        return model


class MaskWeights(_Edit):
    """Attach masks to weights, in the place of those that are there; which weights are zero is among the weights."""

    edit: Literal["mask_weights"] = "mask_weights"
    modules: tuple[str, ...]
    structure: Structure
    ramp: float

    def apply(self, model: nn.Module) -> nn.Module:
        """Attach in place."""
        for name in self.modules:
            attach_mask(model.get_submodule(name), structure=self.structure, ramp=self.ramp)
        return model


class CodebookShape(BaseModel):
    """The codebooks of one layer: how many, how many centroids each has, and whether a zero stands before them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: int
    centroids: int
    keeps_zeros: bool


class ClusterWeights(_Edit):
    """Attach codebooks to weights; centroids and indices are among the weights."""

    edit: Literal["cluster_weights"] = "cluster_weights"
    modules: dict[str, CodebookShape]
    training: Following
    reassign_every: int

    def apply(self, model: nn.Module) -> nn.Module:
        """Attach in place."""
        for name, shape in self.modules.items():
            attach_codebook(
                model.get_submodule(name),
                groups=shape.groups,
                centroids=shape.centroids,
                keeps_zeros=shape.keeps_zeros,
                training_mode=self.training,
                reassign_every=self.reassign_every,
            )
        return model


class QuantizeWeights(_Edit):
    """Attach weight quantizers; scales and zero points are among the weights."""

    edit: Literal["quantize_weights"] = "quantize_weights"
    modules: tuple[str, ...]
    q_min: int
    q_max: int
    granularity: Granularity = "channel"
    group_size: int = 32
    symmetric: bool = True

    def apply(self, model: nn.Module) -> nn.Module:
        """Attach in place."""
        for name in self.modules:
            attach_weight_quantizer(
                model.get_submodule(name),
                Grid(q_min=self.q_min, q_max=self.q_max),
                granularity=self.granularity,
                group_size=self.group_size,
                symmetric=self.symmetric,
            )
        return model


class QuantizeActivations(_Edit):
    """Attach one activation quantizer to each group of graph nodes; the nodes of a group share a grid."""

    edit: Literal["quantize_activations"] = "quantize_activations"
    groups: tuple[tuple[str, ...], ...]
    q_min: int
    q_max: int

    def apply(self, model: nn.Module) -> nn.Module:
        """Insert the quantizers behind their nodes, in place."""
        if not isinstance(model, fx.GraphModule):
            raise TypeError("quantize_activations needs a captured model")
        nodes = {node.name: node for node in model.graph.nodes}
        quantizers = nn.ModuleDict()
        model.add_module("activation_quantizers", quantizers)
        for group in self.groups:
            key = f"{group[0]}_grid"  # a node may be called 'values', which a ModuleDict has already
            quantizers[key] = ActivationQuantizer(Grid(q_min=self.q_min, q_max=self.q_max))
            for name in group:
                _insert_behind(model.graph, nodes[name], f"activation_quantizers.{key}")
        model.graph.lint()
        model.recompile()
        return model


def _insert_behind(graph: fx.Graph, node: fx.Node, target: str) -> None:
    with graph.inserting_after(node):
        quantized = graph.call_module(target, (node,))
    node.replace_all_uses_with(quantized, delete_user_cb=lambda user: user is not quantized)


class QuantizeStandalone(_Edit):
    """Quantize layers one by one, outside a graph: their inputs, and the outputs of convolutions."""

    edit: Literal["quantize_standalone"] = "quantize_standalone"
    modules: tuple[str, ...]
    q_min: int
    q_max: int

    def apply(self, model: nn.Module) -> nn.Module:
        """Attach in place."""
        for name in self.modules:
            attach_standalone(model.get_submodule(name), Grid(q_min=self.q_min, q_max=self.q_max))
        return model


class CutChannels(_Edit):
    """Cut channels: the shapes of the tensors that have fewer of them; which ones went is a matter of the weights."""

    edit: Literal["cut_channels"] = "cut_channels"
    shapes: dict[str, tuple[int, ...]]

    def apply(self, model: nn.Module) -> nn.Module:
        """Give the tensors their shapes, filled with zeros, and the layers their numbers of channels, in place."""
        resize(model, self.shapes)
        return model


class AttachExits(_Edit):
    """Attach exits; the thresholds that reach their goal are set on the exported file."""

    edit: Literal["attach_exits"] = "attach_exits"
    exits: tuple[ExitSpec, ...]
    goal: ExitGoal

    def apply(self, model: nn.Module) -> nn.Module:
        """Attach in place."""
        if not isinstance(model, fx.GraphModule):
            raise TypeError("attach_exits needs a captured model")
        attach_exits(model, self.exits)
        return model


class HalfPrecision(_Edit):
    """Compute in float16, with float32 inputs and outputs."""

    edit: Literal["half_precision"] = "half_precision"

    def apply(self, model: nn.Module) -> nn.Module:
        """Return the model cast, between casts of its inputs and outputs."""
        return HalfPrecisionNetwork(model)


Edit = Annotated[
    CaptureGraph
    | FoldBatchNorm
    | MaskWeights
    | CutChannels
    | ClusterWeights
    | QuantizeWeights
    | QuantizeActivations
    | QuantizeStandalone
    | AttachExits
    | HalfPrecision,
    Field(discriminator="edit"),
]


class Architecture(BaseModel):
    """A model without its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    version: Literal[1] = 1
    model: str
    model_args: dict[str, JsonValue] = Field(default_factory=dict)
    input_shape: tuple[int, ...]
    edits: tuple[Edit, ...] = ()


def build(architecture: Architecture) -> nn.Module:
    """Return a fresh model of the factory with every edit replayed, in eval mode; its weights are to be loaded yet.

    Raises:
        ModelError: The factory is missing, or what it builds does not have what an edit names.
    """
    model = create_model(architecture.model, architecture.model_args)
    model.eval()
    for edit in architecture.edits:
        try:
            model = edit.apply(model)
        except (AttributeError, KeyError, TypeError) as error:  # a module or node that is not there any more
            raise ModelError(
                f"'{architecture.model}' does not build the model that was compressed: {edit.edit} fails with {error}; "
                "use the code that the model was compressed with"
            ) from error
    return model.eval()
