"""Early exit: heads in the middle of a network, so that examples that are easy need not go all the way.

Heads are attached where one tensor carries the whole network (tinyml/graph/cut_points.py); a fine_tuning trains them,
alone or with the network. Who leaves where is decided at the very end, on the exported file over validation data: this
pass says by which rule and to what end. Sources: Teerapittayanon et al. 2016 (BranchyNet, arXiv:1709.01686), Kaya et
al. 2019 (Shallow-Deep Networks, arXiv:1810.07052).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field, JsonValue
from torch import Tensor, fx

from tinyml.architecture import AttachExits, CaptureGraph
from tinyml.errors import ModelError, RecipeError, TinymlError
from tinyml.graph.capture import capture
from tinyml.graph.cut_points import CutPoint, find_cut_points
from tinyml.graph.network_outputs import outputs_of
from tinyml.layers.exit_heads import ExitSpec, Head, conv_macs, has_exits, head_fault
from tinyml.layers.quantizers import weight_quantizers
from tinyml.numerics.exit_rules import ExitRule
from tinyml.numerics.exit_thresholds import ExitGoal, GoalName
from tinyml.passes.base import Compressed, Context, Pass, Role
from tinyml.passes.exit_places import named_places, spread_places, suggested_places

Kept = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
GOALS: tuple[GoalName, ...] = ("max_drop_points", "keep_macs", "keep_latency")
MOST_EXITS = 12
"""Their thresholds are chosen together, which doubles with each; and an ONNX file holds at most 31 nested branches."""
DROP_POINTS = 0.5
CONV_SHARE = 0.01
"""Largest share of the network's MACs that the convolution of a conv head takes, where that leaves it 8 channels."""


@dataclass(frozen=True, kw_only=True)
class EarlyExit(Pass):
    """Attach exits. At most one of max_drop_points, keep_macs and keep_latency is given; 0.5 points without any.

    Attributes:
        exits: how many, spread evenly over the network's MACs; or the places: names or glob patterns of modules whose
            output carries the whole network ("layer1").
        places: a JSON file that suggests places, {"places": ["layer2", "layer1"]}, the best first, of which `exits` are
            taken; relative to the working directory.
        head: "pooled" (average pooling to 4x4, linear), "flatten" (linear), or "conv" (pooling to 8x8, a small
            convolution, linear).
        rule: by which an example leaves (tinyml/numerics/exit_rules.py).
        max_drop_points: points (0-100) of accuracy that may be lost to the network's own answer, on validation data.
        keep_macs: share of the uncompressed network's MACs that stays at most, the mean over validation data.
        keep_latency: share of its latency that stays at most, as keep_macs.
        temperature_scaling: whether each exit's logits are divided by a temperature of its own, fit on validation data.
    """

    role: ClassVar[Role] = "exit"

    exits: Annotated[int, Field(ge=1)] | tuple[str, ...] = 2
    places: Path | None = None
    head: Head = "pooled"
    rule: ExitRule = "max_probability"
    max_drop_points: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    keep_macs: Kept | None = None
    keep_latency: Kept | None = None
    temperature_scaling: bool = True

    def __post_init__(self) -> None:
        """Spell out the goal where none is given, and refuse values that are not allowed."""
        super().__post_init__()
        given = [name for name in GOALS if getattr(self, name) is not None]
        if len(given) > 1:
            raise RecipeError(f"give at most one of {', '.join(GOALS)}, not {' and '.join(given)}")
        if not given:
            object.__setattr__(self, "max_drop_points", DROP_POINTS)
        if self.exits == ():
            raise RecipeError("exits is an empty list: give a number, or names of places")
        if not isinstance(self.exits, int) and (twice := [name for name in self.exits if self.exits.count(name) > 1]):
            raise RecipeError(f"exits names '{twice[0]}' twice: leave one of them out")
        if self.places is not None and not isinstance(self.exits, int):
            raise RecipeError("exits names places, and so does the file of places: give a number of exits beside it")

    def requires(self, model: Compressed, context: Context) -> None:
        """Refuse what has exits, or no classes, or is quantized; no or too few cut points; places that are none."""
        if context.task is not None and context.task.kind != "classification":
            raise RecipeError(f"early_exit is for classification; task '{context.task.name}' is {context.task.kind}")
        if has_exits(model.module):
            raise RecipeError("early_exit: the network has exits already; let one early_exit attach all of them")
        if weight_quantizers(model.module):
            raise RecipeError("early_exit: exits come before quantization, which shifts their confidences")
        self._specs(_captured(model.copy()), model)

    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the model with exits, whose heads have random weights."""
        graph_module = _captured(model.copy())
        specs, cuts = self._specs(graph_module, model)
        edit = AttachExits(exits=specs, goal=self._goal())
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(context.seed)
            module = edit.apply(graph_module)
        places: list[JsonValue] = [{"place": cut.name, "macs_share": round(cut.share, 4)} for cut in cuts]
        context.record({"event": "exits", "head": self.head, "exits": places})
        return model.edited(module, [CaptureGraph(), edit])

    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Check that the network's own answer and its tensors are what they were, and that every exit gives logits."""
        now = after.module.state_dict()
        for name, tensor in before.module.state_dict().items():
            if name in now and not torch.equal(tensor, now[name]):
                raise TinymlError(f"early_exit: '{name}' has changed")
        own, outputs = _answers(before), _answers(after)
        if not torch.equal(own[-1], outputs[-1]):
            raise TinymlError("early_exit: the network's own answer has changed")
        if wrong := [index for index, each in enumerate(outputs) if each.shape != own[-1].shape]:
            raise TinymlError(f"early_exit: exit {wrong[0]} gives {tuple(outputs[wrong[0]].shape)}, not logits")

    def _goal(self) -> ExitGoal:
        name = next(name for name in GOALS if getattr(self, name) is not None)
        return ExitGoal(
            rule=self.rule, goal=name, budget=getattr(self, name), temperature_scaling=self.temperature_scaling
        )

    def _specs(
        self, graph_module: fx.GraphModule, model: Compressed
    ) -> tuple[tuple[ExitSpec, ...], tuple[CutPoint, ...]]:
        """Return the exits and their places.

        Raises:
            RecipeError: There are none, not so many, or not these, or more than MOST_EXITS.
            ModelError: The network gives no logits.
        """
        classes = _classes(model)
        cuts = self._places(find_cut_points(graph_module, model.architecture.input_shape), graph_module)
        if len(cuts) > MOST_EXITS:
            raise RecipeError(
                f"early_exit: {len(cuts)} exits are asked for; allowed are {MOST_EXITS} at most: name fewer places, or "
                "give a number"
            )
        for cut in cuts:
            if fault := head_fault(self.head, cut.shape):
                raise RecipeError(f"early_exit: head '{self.head}' does not fit place '{cut.name}': {fault}")
        return tuple(
            ExitSpec(
                node=cut.node,
                name=cut.name,
                head=self.head,
                shape=cut.shape,
                channels_last=cut.channels_last,
                hidden=_hidden(cut) if self.head == "conv" else 0,
                classes=classes,
            )
            for cut in cuts
        ), cuts

    def _places(self, cuts: tuple[CutPoint, ...], graph_module: fx.GraphModule) -> tuple[CutPoint, ...]:
        """Return the places to use, in the order of the network."""
        if not cuts:
            raise RecipeError(
                "early_exit: the network has no place for an exit, which is one tensor that carries all of it, with a "
                f"layer before it and two or more behind it: {_why_none(graph_module)}"
            )
        if not isinstance(self.exits, int):
            return named_places(cuts, self.exits)
        if self.places is None:
            return spread_places(cuts, self.exits)
        return suggested_places(cuts, self.exits, self.places)


def _captured(model: Compressed) -> fx.GraphModule:
    """Return the graph of a copy.

    Raises:
        RecipeError: The network does not trace.
    """
    found = capture(model.module)
    if found.graph_module is None:
        raise RecipeError(f"early_exit: {found.opaque[0].reason}, so that no place for an exit is known")
    return found.graph_module


def _why_none(graph_module: fx.GraphModule) -> str:
    opaque = [item.module for item in capture(graph_module).opaque]
    if opaque:
        return f"{', '.join(opaque)} runs in one piece, and no such place is outside of it"
    return (
        "shortcuts or branches lead around every such tensor, it has more than 3 dimensions beside the batch, or there "
        "are too few layers"
    )


@torch.no_grad()
def _answers(model: Compressed) -> tuple[Tensor, ...]:
    """Return the outputs for two random inputs."""
    parameter = next(model.module.parameters(), torch.empty(()))
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, *model.architecture.input_shape, generator=generator)
    return outputs_of(model.module.eval()(inputs.to(parameter)))


def _classes(model: Compressed) -> int:
    try:
        (logits,) = _answers(model)
    except (TypeError, ValueError) as error:
        raise ModelError("early_exit: the network does not return one tensor of logits (N, classes)") from error
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ModelError(f"early_exit: the network returns {tuple(logits.shape)}, not logits (N, classes)")
    return int(logits.shape[1])


def _hidden(cut: CutPoint) -> int:
    """Return the channels of a conv head: twice the value's, fewer where they cost too much, a multiple of 8."""
    shape = (cut.shape[-1], *cut.shape[:-1]) if cut.channels_last else cut.shape
    allowed = int(CONV_SHARE * cut.network_macs) // conv_macs(shape)
    return max(8, min(2 * shape[0], allowed) // 8 * 8)
