"""What a recipe says of linear_quantization, checked, and the grids that it comes to on a target.

Of b bits a symmetric grid of weights is -(2^(b-1) - 1) .. 2^(b-1) - 1. Where the target's integer kernels add two
products in 16 bits, 8-bit codes stay within -64..64, which is the 7-bit range of the static bound
|w_i| + |w_j| <= 128.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from tinyml.errors import RecipeError, TargetError
from tinyml.layers.quantizers import Granularity
from tinyml.numerics.affine import Grid, signed_grid, unsigned_grid
from tinyml.numerics.ranges import Method
from tinyml.passes.base import Pass, Role
from tinyml.passes.checked_settings import check_settings
from tinyml.passes.layer_patterns import own_settings
from tinyml.passes.post_training.adaround import AdaRound
from tinyml.target import LOWEST_OPSET_OF_16_BITS, IntegerScheme, Target

REDUCED: Final = Grid(q_min=-64, q_max=64)

WeightBits = Annotated[int, Field(ge=2, le=8)]
ActivationBits = Literal[4, 5, 6, 7, 8, 16]

ACTIVATION_BITS: Final = 8
GROUP_SIZE: Final = 32


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How activation ranges are chosen.

    Attributes:
        method: of choosing a range (tinyml/numerics/ranges.py).
        images: how many of train, drawn by the seed.
        indices: a file that names images of train, such as the calibration.json of `tinyml difficulty`: all of these
            are taken, and none is drawn.
    """

    method: Method = "mse"
    images: Annotated[int, Field(ge=1)] = 512
    indices: Path | None = None

    def __post_init__(self) -> None:
        """Refuse values that are not allowed; see `check_settings`."""
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class LayerSettings:
    """What may differ from layer to layer.

    Attributes:
        weight_bits: of these layers; None for those that the pass gives them.
        weight_range: as that of the pass, which None stands for.
    """

    weight_bits: WeightBits | None = None
    weight_range: Literal["target", "full"] | None = None

    def __post_init__(self) -> None:
        """Refuse values that are not allowed; see `check_settings`."""
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class IntegerSettings(Pass):
    """The keys of linear_quantization, and the grids that they come to on a target.

    Attributes:
        weight_bits: 2 to 8; of b bits the codes are -(2^(b-1) - 1) to 2^(b-1) - 1.
        outer_bits: of the weights of the first and the last layer that the network calls, of those that are quantized:
            they lose most and are small; null for those of the others.
        activation_bits: 4 to 8, or 16; not with weights_only.
        weights_only: activations stay in float, and need neither images nor integer kernels.
        weight_scheme: "asymmetric" weights have a zero point and one code more; integer kernels take one zero point for
            a whole tensor only.
        granularity: whether all weights of a layer share a scale, those of an output channel, or a group of them;
            groups are for weights_only.
        group_size: weights in a group, for granularity group; a divisor of a channel's weights near it where it is
            none.
        weight_range: "target" keeps 8-bit weight codes in the range that the target's kernels add without saturating;
            "full" uses all of -127..127 whatever the target.
        equalize: whether layers in a row share their ranges before they are quantized; see passes/post_training/.
        rounding: "adaround" learns from images whether each weight is rounded up or down.
        adaround: how.
        bias_correction: whether biases make up for what quantization adds to a layer's outputs on average.
        include, exclude: glob patterns of module names; excluded layers stay in float.
        layers: settings of the layers that a glob pattern matches, outer or not; of several, the last that matches
            counts.
    """

    role: ClassVar[Role] = "quantize"

    weight_bits: WeightBits = 8
    outer_bits: WeightBits | None = None
    activation_bits: ActivationBits = ACTIVATION_BITS
    weights_only: bool = False
    weight_scheme: Literal["symmetric", "asymmetric"] = "symmetric"
    granularity: Granularity = "channel"
    group_size: Annotated[int, Field(ge=2)] = GROUP_SIZE
    weight_range: Literal["target", "full"] = "target"
    calibration: Calibration = field(default_factory=Calibration)
    equalize: bool = False
    rounding: Literal["nearest", "adaround"] = "nearest"
    adaround: AdaRound = field(default_factory=AdaRound)
    bias_correction: bool = False
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    layers: Mapping[str, LayerSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse settings that no integer kernel can keep together, and values that are not allowed."""
        super().__post_init__()
        if self.rounding != "adaround" and self.adaround != AdaRound():
            raise RecipeError(
                "linear_quantization: adaround has settings but rounding is nearest; give rounding: adaround"
            )
        if self.granularity != "group" and self.group_size != GROUP_SIZE:
            raise RecipeError(
                f"linear_quantization: group_size: {self.group_size} has no effect on granularity {self.granularity}; "
                "give granularity: group, or leave group_size out"
            )
        if self.weights_only:
            self._refuse_settings_of_activations()
            return
        if self.granularity == "group":
            raise RecipeError(
                "linear_quantization: no integer kernel takes scales by group: choose granularity channel, or give "
                "weights_only: true"
            )
        if self.weight_scheme == "asymmetric" and self.granularity != "tensor":
            raise RecipeError(
                "linear_quantization: integer kernels take one zero point for all weights of a layer: choose "
                "granularity tensor beside weight_scheme asymmetric, or give weights_only: true"
            )

    def _refuse_settings_of_activations(self) -> None:
        """Refuse what weights_only leaves without effect."""
        if self.activation_bits != ACTIVATION_BITS:
            raise RecipeError(
                f"linear_quantization: activation_bits: {self.activation_bits} has no effect beside weights_only: "
                "true, which leaves activations in float; leave one of them out"
            )
        if self.calibration != Calibration() and not self.bias_correction:
            raise RecipeError(
                "linear_quantization: calibration has no effect beside weights_only: true, where only bias_correction "
                "uses its images; leave calibration out, or give bias_correction: true"
            )

    def check_target(self, target: Target) -> None:
        """Refuse a scheme that the runtime of the target lacks, naming the nearest that it has."""
        scheme, name, bits = integer_scheme(target), target.name, self.activation_bits
        if bits not in scheme.activation_bits:
            nearest = min(scheme.activation_bits, key=lambda each: (abs(each - bits), -each))
            raise TargetError(
                f"linear_quantization: target '{name}' has no {bits}-bit activations; choose activation_bits: {nearest}"
            )
        if bits == 16 and target.opset < LOWEST_OPSET_OF_16_BITS:
            raise TargetError(
                f"linear_quantization: 16-bit activations need opset {LOWEST_OPSET_OF_16_BITS}, and target '{name}' "
                f"has {target.opset}; choose activation_bits: 8"
            )
        if scheme.activation_symmetric and self.weight_scheme == "asymmetric":
            raise TargetError(
                f"linear_quantization: target '{name}' takes no zero points; choose weight_scheme: symmetric"
            )

    def activation_grid(self, target: Target) -> Grid:
        """Return the grid of every activation, in the type of the target."""
        unsigned = integer_scheme(target).activations == "uint8"
        return unsigned_grid(self.activation_bits) if unsigned else signed_grid(self.activation_bits, symmetric=False)

    def weight_grid(self, name: str, target: Target, *, outer: bool = False) -> Grid:
        """Return the grid of one layer's weight: 8 bits are the full range where the target or the recipe says so.

        Args:
            name: of the layer.
            target: whose kernels add.
            outer: whether it is the first or the last layer.
        """
        own = own_settings(name, self.layers)
        bits = (own[0].weight_bits if own else None) or (self.outer_bits if outer else None) or self.weight_bits
        asked = (own[0].weight_range if own else None) or self.weight_range
        symmetric = self.weight_scheme == "symmetric"
        exact = self.weights_only or self.activation_bits == 16  # no integer kernel that could saturate
        if bits < 8 or exact or "full" in (asked, integer_scheme(target).weight_range):
            return signed_grid(bits, symmetric=symmetric)
        return REDUCED if symmetric else signed_grid(7, symmetric=False)


def integer_scheme(target: Target) -> IntegerScheme:
    """Return how the target wants integers.

    Raises:
        TargetError: It has no integer kernels.
    """
    if target.integer is None:
        raise TargetError(
            f"linear_quantization: target '{target.name}' has no integer kernels: "
            f"{target.integer_reason}; weights_only: true needs none"
        )
    return target.integer
