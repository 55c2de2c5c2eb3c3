"""A mask on a layer's weight: pruned weights are zero in every forward pass, and stay zero while others are trained.

    weight = original where the mask is true, else 0

No gradient reaches a masked weight. On a ramp the mask grows in at most 100 updates, each from the magnitudes of the
trained weight at that time, so that a weight that was masked too early may come back; at the end of the ramp it has
exactly the promised zeros and is never changed again. What the mask of an earlier pass masks never comes back.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinyml.graph.layer_types import TransposedConvolution
from tinyml.layers.attachment import Attachment, attached
from tinyml.numerics.sparsity import NOfM, cubic_zeros, kept_on_the_way, kept_weights

Structure = Literal["unstructured"] | NOfM
UPDATES = 100
"""Updates of a mask on its ramp; sorting a large weight at every step would cost as much as the step."""


@final
class Mask(Attachment):
    """Keeps the weights where its mask is true; a parametrization of a weight of any shape.

    Buffers: mask, bool of the weight's shape; zeros and start, int64 scalars: the zeros at the end and at the beginning
    of the ramp; earlier, bool of the weight's shape: the mask that this one has replaced, None where it is the first.

    Attributes:
        structure: "unstructured", or N of M along the input channels.
        axis: of the input channels.
        ramp: share (0-1) of the training over which the mask grows; 0 where it is there at once.
    """

    commutes_with_scaling: ClassVar[bool] = True  # tinyml/graph/fold.py asks
    mask: Tensor
    zeros: Tensor
    start: Tensor
    earlier: Tensor | None

    def __init__(
        self, weight: Tensor, *, structure: Structure, axis: int, ramp: float, earlier: Tensor | None = None
    ) -> None:
        super().__init__()
        self.structure, self.axis, self.ramp = structure, axis, ramp
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool, requires_grad=False))
        self.register_buffer("zeros", torch.zeros((), dtype=torch.int64))
        self.register_buffer("start", torch.zeros((), dtype=torch.int64))
        self.register_buffer("earlier", earlier)

    def aim(self, weight: Tensor, *, start: int, zeros: int) -> None:
        """Promise so many zeros, and mask the weight for the start of the ramp; without one that is its end."""
        self.zeros.fill_(zeros)
        self.start.fill_(start if self.ramp else zeros)
        self.mask.copy_(self._kept(weight, int(self.start)))

    @property
    def masked(self) -> int:
        """Return how many weights are masked now."""
        return self.mask.numel() - int(self.mask.count_nonzero())

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with zeros where it is masked, same shape."""
        return torch.where(self.mask, weight, 0.0)

    def after_step(self, original: Tensor, share: float) -> None:
        """Grow along the cubic ramp; see `Attachment.after_step`."""
        masked, zeros = self.masked, int(self.zeros)
        if masked >= zeros:
            return
        progress = int(UPDATES * min(1.0, share / self.ramp)) / UPDATES
        due = cubic_zeros(int(self.start), zeros, progress)
        if due > masked:
            self.mask.copy_(self._kept(original, due))

    def fault(self, weight: Tensor) -> str:
        """Return where zeros are missing; see `Attachment.fault`."""
        if self.masked != int(self.zeros):
            unfinished = "; its ramp ends with a fine_tuning" if self.ramp else ""
            return f"{self.masked} weights are masked instead of {int(self.zeros)}{unfinished}"
        if self.earlier is not None and (back := int((self.mask & ~self.earlier).count_nonzero())):
            return f"{back} weights that were pruned earlier are not masked"
        if stray := int(weight[~self.mask].count_nonzero()):
            return f"{stray} masked weights are not zero"
        if isinstance(self.structure, NOfM):
            groups = weight.movedim(self.axis, -1).reshape(-1, self.structure.of)
            full = int((groups.count_nonzero(dim=1) > self.structure.keep).count_nonzero())
            return f"{full} groups have more than {self.structure} weights that are not zero" if full else ""
        return ""

    def extra_repr(self) -> str:
        """Return the promise for print(module)."""
        return f"{self.structure}, {int(self.zeros)} of {self.mask.numel()} zero"

    def _kept(self, weight: Tensor, zeros: int) -> Tensor:
        if isinstance(self.structure, NOfM):
            return kept_on_the_way(weight, zeros, self.structure, axis=self.axis, earlier=self.earlier)
        return kept_weights(weight, zeros, earlier=self.earlier)


def input_axis(layer: nn.Module) -> int:
    """Return the axis of the input channels in the layer's weight."""
    return 0 if isinstance(layer, TransposedConvolution) else 1


def attach_mask(layer: nn.Module, *, structure: Structure, ramp: float) -> Mask:
    """Parametrize the layer's weight and return the mask, which masks nothing yet.

    A mask that is there already is replaced; its zeros are written into the weight, and the new one keeps them.
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    again = parametrize.is_parametrized(layer, "weight")
    earlier = _masked_chain(layer)[1].mask.clone() if again else None
    mask = Mask(weight, structure=structure, axis=input_axis(layer), ramp=ramp, earlier=earlier).to(weight.device)
    if again:
        _replace(layer, mask)
    else:
        parametrize.register_parametrization(layer, "weight", mask, unsafe=True)
    return mask


def masks(model: nn.Module) -> Iterator[tuple[str, Mask]]:
    """Yield (name of the layer, its mask) for every masked layer."""
    for each in attached(model):
        if isinstance(each.attachment, Mask):
            yield each.parameter.removesuffix("weight").removesuffix("."), each.attachment


def bake_masks(model: nn.Module) -> None:
    """Write every mask's zeros into its weight, in place, and take the mask away."""
    for name, _ in list(masks(model)):
        _replace(model.get_submodule(name), nn.Identity())


@torch.no_grad()
def _replace(layer: nn.Module, successor: nn.Module) -> None:
    """Put the successor in the mask's place, the first of the weight's parametrizations.

    `parametrize.remove_parametrizations` would remove the property from a class that copies of the layer share.
    """
    chain, mask = _masked_chain(layer)
    assert isinstance(chain.original, Tensor)
    chain.original.copy_(mask(chain.original))
    chain[0] = successor


def _masked_chain(layer: nn.Module) -> tuple[parametrize.ParametrizationList, Mask]:
    """Return the weight's parametrizations and the mask, which is the first of them."""
    chain = layer.get_submodule("parametrizations.weight")
    assert isinstance(chain, parametrize.ParametrizationList)
    first = chain[0]
    if not isinstance(first, Mask):
        raise TypeError("its weight is computed by something else than a mask")
    return chain, first
