"""A codebook on a layer's weight: many weights share one of few centroids, in every forward pass and through training.

    weight = table[run, indices],    table = (centroids), or (0, centroids) where a mask's zeros are kept

A run is one of the equal runs of channels along the weight's first axis that have a codebook each. What a mask has
zeroed before has a place of its own in the table: it is no parameter, and nothing ever moves to it or from it. How
centroids follow the training, with m the members of a centroid c, w their original weights and g their gradients:

    mean      each w takes its own gradient, as if the centroids were not there (straight-through); after each step
              c = mean(w). After so many steps each w moves to its nearest centroid, where that is asked for
    gradient  c takes sum(g) / sqrt(m). The sum is that of Han et al. 2016, "Deep Compression" (arXiv:1510.00149),
              section 3.3; it alone would move c by as much more than a single weight as c has members, and a rate that
              suits the other parameters would diverge. Gradients that do not agree add up to sqrt(m) of one
    soft      in training the weights are mixtures of centroids (tinyml/numerics/soft_assignment.py); after each step
              as "mean", with each w moving to its nearest centroid. In evaluation and in the file they are hard
"""

from collections.abc import Iterator
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from tinyml.layers.attachment import Attachment, attached
from tinyml.layers.operators import as_stored
from tinyml.numerics.clustering import decode, nearest
from tinyml.numerics.soft_assignment import soft_assignment

Following = Literal["mean", "gradient", "soft"]


def table_of(centroids: Tensor, *, keeps_zeros: bool) -> Tensor:
    """Return the values that indices point to: centroids (groups, k), behind a column of zeros where they are kept."""
    return functional.pad(centroids, (int(keeps_zeros), 0))


@final
class Codebook(Attachment):
    """Gives every weight the value of its centroid; a parametrization of a weight of any shape.

    Parameters: centroids, (groups, k), of which nothing decays. Buffers: indices, uint8 of the weight's shape, places
    in the table of each run; steps, int64 scalar: of the training so far; share, float32 scalar: of it that is done.

    Attributes:
        groups: equal runs of channels along the weight's first axis with a codebook each; 1 for the whole tensor.
        keeps_zeros: whether the first place of the table is a zero that stays one.
        training_mode: how centroids follow the training, see above.
        reassign_every: steps until each weight moves to its nearest centroid; 0 never moves one.
    """

    centroids: nn.Parameter
    indices: Tensor
    steps: Tensor
    share: Tensor
    stored: Tensor

    def __init__(
        self,
        weight: Tensor,
        *,
        groups: int,
        centroids: int,
        keeps_zeros: bool,
        training_mode: Following,
        reassign_every: int,
    ) -> None:
        super().__init__()
        self.groups, self.keeps_zeros = groups, keeps_zeros
        self.training_mode, self.reassign_every = training_mode, 1 if training_mode == "soft" else reassign_every
        self.centroids = nn.Parameter(torch.zeros(groups, centroids, dtype=weight.dtype))
        self.register_buffer("indices", torch.zeros_like(weight, dtype=torch.uint8, requires_grad=False))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("share", torch.zeros(()))
        self.register_buffer("stored", torch.empty(0), persistent=False)

    @torch.no_grad()
    def fit(self, centroids: Tensor, indices: Tensor) -> None:
        """Take centroids (groups, k) and places in the table, which has its zero first where zeros are kept."""
        self.centroids.copy_(centroids)
        self.indices.copy_(indices)

    @property
    def table(self) -> Tensor:
        """The values that a weight may have, (groups, k); one more where zeros are kept."""
        return table_of(self.centroids, keeps_zeros=self.keeps_zeros)

    @property
    def values(self) -> Tensor:
        """The weights as they ship, of the weight's shape."""
        return decode(self.indices, self.table.detach())

    def forward(self, weight: Tensor) -> Tensor:
        """Return the centroids in the place of the weights, same shape."""
        if torch.compiler.is_exporting():
            constant: Tensor = as_stored(self.stored)
            return constant
        if self.training_mode == "soft" and self.training:
            return self._mixed(weight)
        if self.training_mode == "gradient":
            return decode(self.indices, self._steadied(self.table))
        return self.values + (weight - weight.detach())  # adds 0, and passes the gradient straight through

    @torch.no_grad()
    def after_step(self, original: Tensor, share: float) -> None:
        """Move the centroids to the means of their members; see `Attachment.after_step`."""
        self.steps += 1
        self.share.fill_(share)
        if self.training_mode == "gradient":
            return
        if self.reassign_every and int(self.steps) % self.reassign_every == 0:
            self.centroids.copy_(self.centroids.sort(dim=1).values)
            places = nearest(original, self.centroids) + int(self.keeps_zeros)
            self.indices.copy_(torch.where(self._masked(), 0, places))
        sums = torch.zeros(self.table.numel(), dtype=torch.float64, device=original.device)
        sums.index_add_(0, self._places(), original.reshape(-1).double())
        members = self._members()
        means = sums.reshape(members.shape) / members.clamp(min=1)
        free = slice(int(self.keeps_zeros), None)
        self.centroids.copy_(torch.where(members > 0, means, self.table)[:, free])

    def freeze(self) -> None:
        """Compute the constant that the file will store."""
        self.stored = self.values

    def fault(self, weight: Tensor) -> str:
        """Return where weights of one centroid differ, or a kept zero is none; see `Attachment.fault`.

        What stands behind the codebook may scale or round it per channel: what it shares is asked of each channel.
        """
        if stray := int(weight[self._masked()].count_nonzero()):
            return f"{stray} weights whose zeros the codebook keeps are not zero"
        channel = torch.arange(len(weight), device=weight.device)[:, None] * self.table.shape[1]
        place = (self.indices.flatten(1) + channel).flatten()
        high, low = (
            torch.zeros(len(weight) * self.table.shape[1], dtype=weight.dtype, device=weight.device).scatter_reduce_(
                0, place, weight.flatten(), extreme, include_self=False
            )
            for extreme in ("amax", "amin")
        )
        differ = int((high != low).reshape(len(weight), -1).any(dim=1).count_nonzero())
        return f"weights of one centroid differ in {differ} channels" if differ else ""

    def extra_repr(self) -> str:
        """Return the promise for print(module)."""
        zero = " and zero" if self.keeps_zeros else ""
        return f"{self.groups} x {self.centroids.shape[1]} centroids{zero}, {self.training_mode}"

    def _masked(self) -> Tensor:
        """Return bool of the weight's shape: where a mask's zero is kept."""
        return self.indices < int(self.keeps_zeros)

    def _steadied(self, table: Tensor) -> Tensor:
        """Return the table, whose gradient will be divided by the root of the members."""
        if table.requires_grad:
            steps = self._members().clamp(min=1).rsqrt().to(table.dtype)
            table.register_hook(lambda gradient: gradient * steps)  # type: ignore[no-untyped-call]  # torch's own
        return table

    def _places(self) -> Tensor:
        """Return the place of each weight in the tables of all runs, one behind the other; int64, flat."""
        run = torch.arange(self.groups, device=self.indices.device)[:, None] * self.table.shape[1]
        return (self.indices.reshape(self.groups, -1) + run).flatten()

    def _members(self) -> Tensor:
        """Return how many weights each place of the table has, int64 of its shape."""
        return torch.bincount(self._places(), minlength=self.table.numel()).reshape(self.table.shape)

    def _mixed(self, weight: Tensor) -> Tensor:
        runs = weight.reshape(self.groups, -1)
        free = ~self._masked().reshape(self.groups, -1)
        mixed = soft_assignment(runs, self.centroids.detach(), free=free, share=float(self.share))
        return mixed.reshape(weight.shape)


def attach_codebook(
    layer: nn.Module,
    *,
    groups: int,
    centroids: int,
    keeps_zeros: bool,
    training_mode: Following,
    reassign_every: int,
) -> Codebook:
    """Parametrize the weight, behind what is attached already; return the codebook, which has yet to be fitted."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    codebook = Codebook(
        weight,
        groups=groups,
        centroids=centroids,
        keeps_zeros=keeps_zeros,
        training_mode=training_mode,
        reassign_every=reassign_every,
    ).to(weight.device)
    parametrize.register_parametrization(layer, "weight", codebook, unsafe=True)
    return codebook


def codebooks(model: nn.Module) -> Iterator[tuple[str, Codebook]]:
    """Yield (name of the layer, its codebook) for every layer that has one."""
    for each in attached(model):
        if isinstance(each.attachment, Codebook):
            yield each.parameter.removesuffix("weight").removesuffix("."), each.attachment


def freeze_codebooks(model: nn.Module) -> None:
    """Compute what the file will store, in place, before the model is exported."""
    for _, codebook in codebooks(model):
        codebook.freeze()
