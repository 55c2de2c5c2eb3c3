"""Channel pruning: whole channels go, with everything that hangs on them; what is left is an ordinary smaller network.

Which channels hang together comes from torch-pruning's dependency graph, and every group is proven by trial
(tinyml/graph/channel_search.py); which of them go is a criterion's choice (tinyml/importance/). Sources: Li et al. 2017
(arXiv:1608.08710), Fang et al. 2023 (DepGraph, arXiv:2301.12900). The network's outputs are never cut.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from tinyml.architecture import CutChannels
from tinyml.errors import DataError, GateMissed, RecipeError, TinymlError
from tinyml.graph.capture import LeftAlone
from tinyml.graph.channel_dependencies import PRODUCERS
from tinyml.graph.channel_groups import ChannelGroup
from tinyml.graph.channel_search import find_channel_groups
from tinyml.graph.channel_surgery import Cut, kept_tensors, without_channels
from tinyml.graph.network_outputs import outputs_of
from tinyml.importance import IMPORTANCES, Importance, gather
from tinyml.layers.attachment import attached
from tinyml.layers.quantizers import weight_quantizers
from tinyml.measure.macs_torch import macs_of_module
from tinyml.passes.base import Compressed, Context, Pass, Role
from tinyml.passes.channel_counts import Allotment, Counts, Scope, best_channels
from tinyml.passes.latency_goal import LatencyGoal
from tinyml.passes.layer_patterns import LayerSparsity, Sparsity, check_patterns, why_left_out
from tinyml.runtime.session import require_provider

Kept = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
GOALS = ("sparsity", "keep_macs", "keep_parameters", "keep_latency")


@dataclass(frozen=True, kw_only=True)
class ChannelPruning(Pass):
    """Cut the least important channels. Exactly one of sparsity and the goals that begin with keep_ is given.

    Attributes:
        sparsity: share of the channels that goes (0-1), of every group or of all together.
        keep_macs: share of the network's MACs (convolutions and linear layers) that stays at most.
        keep_parameters: share of its parameters that stays at most.
        keep_latency: share of its latency that stays at most, measured on this machine in onnxruntime, as float32.
        scope: "uniform" takes the same share of every group, "global" ranks the channels of all groups together; for
            keep_latency "uniform" compares what is lost of every group's importance, "global" the importance itself.
        importance: the criterion that ranks channels.
        images: how many images of the train split a criterion sees that needs data.
        round_to: what stays of a layer is a multiple of this, or all of it; "target" takes the target's multiple.
        minimum: channels of a layer that stay at least.
        include, exclude: glob patterns of convolutions and linear layers; layers that share their channels are cut
            when one of them is included and none excluded.
        layers: sparsity of the layers that a glob pattern matches, whatever the goal; of several, the last counts.
    """

    role: ClassVar[Role] = "prune"

    sparsity: Sparsity | None = None
    keep_macs: Kept | None = None
    keep_parameters: Kept | None = None
    keep_latency: Kept | None = None
    scope: Scope = "uniform"
    importance: Importance = "l2"
    images: Annotated[int, Field(ge=1)] = 256
    round_to: Annotated[int, Field(ge=1)] | Literal["target"] = "target"
    minimum: Annotated[int, Field(ge=1)] = 1
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    layers: Mapping[str, LayerSparsity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values that are not allowed, no goal, and several goals."""
        super().__post_init__()
        given = [f"{name}: {getattr(self, name)}" for name in GOALS if getattr(self, name) is not None]
        if len(given) != 1:
            raise RecipeError(f"give exactly one of {', '.join(GOALS)}, not {' and '.join(given) or 'none of them'}")

    def requires(self, model: Compressed, context: Context) -> None:
        """Refuse a model that other passes have worked on already, missing data, patterns that leave nothing to cut."""
        if weight_quantizers(model.module) or any(True for _ in attached(model.module)):
            raise RecipeError(
                "channel_pruning: an earlier pass has attached masks, codebooks or quantizers to the weights, in the "
                "size of the whole layers; put channel_pruning first"
            )
        if IMPORTANCES[self.importance].needs != "nothing" and context.task is None:
            raise DataError(
                f"channel_pruning: importance '{self.importance}' needs images: give --data (a card, or 'digits')"
            )
        names = [name for name, module in model.module.named_modules() if isinstance(module, PRODUCERS)]
        check_patterns((*self.include, *self.exclude, *self.layers), names, of="channel_pruning")
        if all(why_left_out(name, include=self.include, exclude=self.exclude) for name in names):
            raise RecipeError(
                f"channel_pruning: none of the {len(names)} convolutions and linear layers is left to cut: include and "
                "exclude leave all of them out"
                if names
                else "channel_pruning: the network has no convolutions or linear layers, so there is nothing to cut"
            )
        if self.keep_latency is not None:
            require_provider(context.target.provider)

    def apply(self, model: Compressed, context: Context) -> Compressed:
        """Return the model without the channels that matter least."""
        found = find_channel_groups(model.module, model.architecture.input_shape)
        excluded = {group.name: reason for group in found.groups if (reason := self._excluded(group))}
        groups = [group for group in found.groups if group.name not in excluded]
        scores, unscored = self._scores(model.module, groups, context)
        left = [
            *found.left_alone,
            *(LeftAlone(module=name, reason=why) for name, why in {**excluded, **unscored}.items()),
        ]
        allotment = self._allotment([group for group in groups if group.name in scores], scores, context)
        if not allotment.groups:
            reasons = "; ".join(f"{item.module or 'the network'}: {item.reason}" for item in left[:4])
            raise RecipeError(f"channel_pruning: no channels of this network can be cut ({reasons})")
        counts = self._counts(model, allotment, left, context)
        left += _rounded_away(allotment, 1.0 if self.sparsity is None else self.sparsity)
        cuts = _cuts(allotment, counts)
        changed = kept_tensors(model.module.state_dict(), cuts)
        edit = CutChannels(shapes={name: tuple(tensor.shape) for name, tensor in changed.items()})
        module = edit.apply(model.copy().module)
        module.load_state_dict({**model.module.state_dict(), **changed}, strict=True)
        context.record(
            {"event": "channels", "kept": {cut.group.name: [len(cut.kept), cut.group.channels] for cut in cuts}}
        )
        return model.edited(module, [edit], left)

    def ensures(self, before: Compressed, after: Compressed) -> None:
        """Check that the model runs, gives outputs of the same shape, and has the sizes that its architecture says."""
        edit, state = after.architecture.edits[-1], after.module.state_dict()
        assert isinstance(edit, CutChannels)
        wrong = [name for name, shape in edit.shapes.items() if tuple(state[name].shape) != tuple(shape)]
        if wrong:
            raise TinymlError(f"channel_pruning: {', '.join(wrong)} have other shapes than the architecture says")
        example = next(before.module.parameters()).new_zeros(2, *before.architecture.input_shape)
        with torch.no_grad():
            given = (outputs_of(model.module(example)) for model in (before, after))
            whole, cut = ([tuple(each.shape) for each in outputs] for outputs in given)
        if whole != cut:
            raise TinymlError(f"channel_pruning: the outputs are of shape {cut[-1]} and were {whole[-1]}")

    def _excluded(self, group: ChannelGroup) -> str:
        """Return why the recipe leaves a group alone, "" where it does not."""
        layers = _producers(group)
        for name in layers:
            if reason := why_left_out(name, include=("*",), exclude=self.exclude):
                return reason if name == group.name else f"{reason}: it shares its channels with '{name}'"
        reasons = [why_left_out(name, include=self.include, exclude=()) for name in layers]
        return reasons[0] if all(reasons) else ""

    def _scores(
        self, module: nn.Module, groups: Sequence[ChannelGroup], context: Context
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return the scores of every group that the criterion can score, and why it cannot score the others."""
        criterion = IMPORTANCES[self.importance]
        evidence = gather(
            copy.deepcopy(module).to(context.device),
            groups,
            needs=criterion.needs,
            task=context.task,
            images=self.images,
            seed=context.seed,
            progress=context.progress,
        )
        faults = {group.name: fault for group in groups if (fault := criterion.fault(group, evidence))}
        scores = {group.name: criterion.score(group, evidence) for group in groups if group.name not in faults}
        return scores, {
            name: f"importance '{self.importance}' cannot rank it: {fault}" for name, fault in faults.items()
        }

    def _allotment(self, groups: Sequence[ChannelGroup], scores: Mapping[str, Tensor], context: Context) -> Allotment:
        fixed = {}
        for group in groups:
            layers = _producers(group)
            own = [each for pattern, each in self.layers.items() if any(fnmatchcase(name, pattern) for name in layers)]
            if own:
                fixed[group.name] = own[-1].sparsity
        return Allotment(
            groups=groups,
            scores=scores,
            scope=self.scope,
            fixed=fixed,
            multiple=context.target.channel_multiple if self.round_to == "target" else self.round_to,
            minimum=self.minimum,
        )

    def _counts(self, model: Compressed, allotment: Allotment, left: Sequence[LeftAlone], context: Context) -> Counts:
        """Return how many channels of each group stay.

        Raises:
            GateMissed: The goal is out of reach.
        """
        if self.sparsity is not None:
            return allotment.counts(self.sparsity)
        name = next(name for name in GOALS if getattr(self, name) is not None)
        goal: float = getattr(self, name)
        if self.keep_latency is not None:
            counts, share = self._fast_counts(model, allotment, self.keep_latency, context)
        else:
            counts, share = self._small_counts(model, allotment, goal)
        if share > goal:
            held = [f"'{item.module}' ({item.reason})" for item in left[:3]]
            raise GateMissed(
                f"channel_pruning: {name}: {goal} cannot be met: with the fewest channels "
                f"{'that are faster' if self.keep_latency is not None else 'allowed'} (round_to "
                f"{allotment.multiple}, minimum {self.minimum}) {share:.3f} stays. Left alone: "
                f"{'; '.join(held) or 'nothing'}{f' and {len(left) - 3} more' if len(left) > 3 else ''}. "
                f"{self._cure(name, share, allotment)}"
            )
        return counts

    def _cure(self, name: str, share: float, allotment: Allotment) -> str:
        """Return what to do where the goal of this name is out of reach and this share (0-1) is the least found."""
        cures = [f"a {name} of {math.ceil(1000 * share) / 1000:g} or more"]
        if allotment.minimum % allotment.multiple:
            cures.append("a smaller round_to")
        if allotment.minimum > allotment.multiple:
            cures.append("a smaller minimum")
        if self.exclude or self.include != ("*",):
            cures.append("include and exclude that leave out fewer layers")
        if allotment.fixed:
            cures.append("more sparsity in layers")
        return f"Give {', or '.join(cures)}"

    def _small_counts(self, model: Compressed, allotment: Allotment, goal: float) -> tuple[Counts, float]:
        """Return counts that meet the goal for MACs or parameters, or the smallest, with the share that they keep."""
        whole, known = self._cost(model.module, model), dict[tuple[int, ...], float]()

        def share(counts: Counts) -> float:
            key = tuple(counts.values())
            if key not in known:
                known[key] = self._cost(without_channels(model.module, _cuts(allotment, counts)), model) / whole
            return known[key]

        counts = allotment.meet(share, goal)
        return counts, share(counts)

    def _fast_counts(
        self, model: Compressed, allotment: Allotment, goal: float, context: Context
    ) -> tuple[Counts, float]:
        """Return counts that meet the goal for the latency, or the fastest, with the share that was measured."""
        search = LatencyGoal(
            model.module,
            model.architecture.input_shape,
            lambda counts: without_channels(model.module, _cuts(allotment, counts)),
            context,
        )
        return search.meet(allotment, goal)

    def _cost(self, module: nn.Module, model: Compressed) -> float:
        """Return what the goal counts: MACs, or parameters."""
        if self.keep_macs is not None:
            return macs_of_module(module, model.architecture.input_shape).value
        return sum(parameter.numel() for parameter in module.parameters())


def _producers(group: ChannelGroup) -> list[str]:
    """Return the layers whose weights produce the channels of a group."""
    return [part.parameter.rpartition(".")[0] for part in group.slices if part.role == "output"]


def _cuts(allotment: Allotment, counts: Counts) -> list[Cut]:
    """Return the cuts of the groups that lose channels."""
    return [
        Cut(group=group, kept=best_channels(allotment.scores[group.name], counts[group.name]))
        for group in allotment.groups
        if counts[group.name] < group.channels
    ]


def _rounded_away(allotment: Allotment, sparsity: float) -> list[LeftAlone]:
    """Return the groups that would lose channels at this sparsity and keep them all because counts are rounded."""
    exact, rounded = replace(allotment, multiple=1, minimum=1).counts(sparsity), allotment.counts(sparsity)
    return [
        LeftAlone(
            module=group.name,
            reason=f"it keeps all its {group.channels * group.width} channels: counts are rounded to a multiple of "
            f"{allotment.multiple}, {allotment.minimum} at least",
        )
        for group in allotment.groups
        if exact[group.name] < rounded[group.name] == group.channels
    ]
