"""What the exported file stores of every scanned weight at every number of bits, by the arithmetic that stores it.

    bytes = rest + sum over layers of stored_bytes[level] + sum over the constants that a layer's decoder reads

The network is quantized and exported once, with all layers at the fewest bits; each weight of each level is then handed
to the chooser of `tinyml.export.storage`. Scales, biases, activations and the graph have the same bytes at any level,
but for some: names of more digits, zero points that happen to be equal. What counts is the file itself: `made_bytes`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import onnx
import torch
from onnx import TensorProto, numpy_helper

from tinyml.analysis.sensitivity.curves import FileBytes, Sensitivity, size_of
from tinyml.analysis.sensitivity.recipe import quantization
from tinyml.analysis.sensitivity.scan import ScanSettings
from tinyml.analysis.sensitivity.units import Patterns, Unit
from tinyml.errors import RecipeError
from tinyml.export import to_onnx
from tinyml.export.storage import pack_weights
from tinyml.export.storage.choice import smallest_decoder, storage_opset
from tinyml.export.storage.decoder import Names, Shared, stored_bytes
from tinyml.layers.codebook import codebooks
from tinyml.passes import Compressed, Context
from tinyml.passes.base import Pass
from tinyml.passes.linear_quantization import Calibration, LinearQuantization
from tinyml.recipe import Recipe

INT4_BITS: Final = 4
QUICK: Final = Calibration(method="minmax", images=64)


def check_quantizable(pass_name: str, settings: ScanSettings, model: Compressed, context: Context) -> None:
    """Refuse, before any work, a network, data or target that the pass refuses.

    Raises:
        Refused: of the kind that fits.
    """
    if any(True for _ in codebooks(model.module)):
        raise RecipeError("the weights have codebooks already: choose bits for the checkpoint that they were made from")
    _coarsest(pass_name, settings.levels, settings.patterns).requires(model, context)


def with_file_bytes(
    sensitivity: Sensitivity, units: Sequence[Unit], patterns: Patterns, model: Compressed, context: Context
) -> Sensitivity:
    """Return the scan with the bytes of its layers and of the rest of the file.

    Args:
        sensitivity: of bits.
        units: what was scanned.
        patterns: which layers that was.
        model: the network that was scanned.
        context: what the pass is handed: data to calibrate on, target.
    """
    levels = sensitivity.curves[0].levels
    exported = _exported(_coarsest(sensitivity.pass_name, levels, patterns), model, context)
    by_name = {unit.name: unit for unit in units}
    ledger = _Ledger(exported, int4=context.target.weight_storage == "int4")
    found = [ledger.entries([by_name[curve.name] for curve in sensitivity.curves], level) for level in levels]
    curves = tuple(
        replace(
            curve, stored_bytes=tuple(each.size_bytes for each in own), constants=tuple(each.constants for each in own)
        )
        for curve, *own in zip(sensitivity.curves, *found, strict=True)
    )
    file = FileBytes(target=context.target.name, rest=0, constants=tuple(ledger.constants))
    lowest = (levels.index(min(levels)),) * len(curves)
    rest = _packed_bytes(exported) - size_of(curves, file, lowest)
    return replace(sensitivity, curves=curves, file=replace(file, rest=rest))


def made_bytes(recipe: Recipe, model: Compressed, context: Context) -> int:
    """Return the bytes of the file that the recipe, of one pass, makes of the network; it is made for that.

    Args:
        recipe: of `bit_recipe_of`.
        model: the network that was scanned.
        context: what `tinyml compress` hands the pass; the seed is the recipe's.
    """
    (entry,) = recipe.passes
    return _packed_bytes(_exported(entry.settings, model, replace(context, seed=recipe.seed)))


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What a weight takes in the file, and the numbers of the shared constants that its decoder reads."""

    size_bytes: int
    constants: tuple[int, ...]


@final
class _Ledger:
    """The bytes of weights and of the constants that their decoders share.

    Attributes:
        constants: bytes of the constants seen so far, in the order of their numbers.
    """

    def __init__(self, exported: onnx.ModelProto, *, int4: bool) -> None:
        self._int4 = int4
        self.constants: list[int] = []
        self._numbers: dict[tuple[tuple[int, ...], int, bytes], int] = {}  # by shape, type and content
        self._exported = exported

    def entries(self, units: Sequence[Unit], level: float) -> list[_Entry]:
        """Return what each unit's weight takes at a level, all other weights being at the same level."""
        shared = Shared(Names(self._exported), storage_opset(self._exported))
        return [self._entry(_tensor(unit, level), shared, level) for unit in units]

    def _entry(self, tensor: TensorProto, shared: Shared, level: float) -> _Entry:
        if self._int4 and tensor.data_type == TensorProto.INT8 and level <= INT4_BITS:
            return _Entry(size_bytes=stored_bytes(tensor) - math.prod(tensor.dims) // 2, constants=())
        decoder = smallest_decoder(tensor, shared, half=False)
        if decoder is None:
            return _Entry(size_bytes=stored_bytes(tensor), constants=())
        return _Entry(size_bytes=decoder.size_bytes, constants=tuple(map(self._number, shared.read_by([decoder]))))

    def _number(self, constant: TensorProto) -> int:
        key = (tuple(constant.dims), constant.data_type, constant.raw_data)
        if key not in self._numbers:
            self._numbers[key] = len(self.constants)
            self.constants.append(stored_bytes(constant))
        return self._numbers[key]


def _coarsest(pass_name: str, levels: Sequence[float], patterns: Patterns) -> Pass:
    """Return the pass with all layers at the fewest bits; its ranges take no room, and need not be good."""
    step = quantization(pass_name, int(min(levels)), {}, patterns)
    return replace(step, calibration=QUICK) if isinstance(step, LinearQuantization) else step


def _exported(step: Pass, model: Compressed, context: Context) -> onnx.ModelProto:
    """Return the file of the quantized network, its weights stored as they are."""
    quantized = step.apply(model, context)
    shape = model.architecture.input_shape
    return to_onnx(quantized.module, input_shape=shape, target=context.target, nonzeros="dense")


def _packed_bytes(exported: onnx.ModelProto) -> int:
    packed = onnx.ModelProto()
    packed.CopyFrom(exported)
    pack_weights(packed)
    return len(packed.SerializeToString(deterministic=True))


def _tensor(unit: Unit, level: float) -> TensorProto:
    assert unit.stored is not None  # units of bits have it
    with torch.no_grad():
        return numpy_helper.from_array(unit.stored(level).contiguous().cpu().numpy(), f"{unit.name}.weight")
