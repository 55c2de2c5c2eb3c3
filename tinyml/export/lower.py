"""Lower a torch model to one ONNX model: torch's exporter, then our own rewrites until the file is what should ship."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch import Tensor, nn

from tinyml.errors import TinymlError
from tinyml.export.pixels import PixelInput, PixelNormalization
from tinyml.export.rewrites import rewrite
from tinyml.export.storage import Nonzeros, pack_weights
from tinyml.export.translations import translations
from tinyml.layers.codebook import freeze_codebooks
from tinyml.layers.mask import bake_masks
from tinyml.layers.quantizers import weight_quantizers
from tinyml.target import Target

INPUT, OUTPUT = "input", "output"


def to_onnx(
    module: nn.Module,
    *,
    input_shape: tuple[int, ...],
    target: Target,
    pixels: PixelNormalization | None = None,
    nonzeros: Nonzeros = "exact",
) -> onnx.ModelProto:
    """Return the model as it ships: `input` (N, *input_shape) float32 with N dynamic, `output` as the module gives it.

    The outputs of a network with exits are `output_0` to `output_n`, the last that of the whole network.
    With `pixels` the graph takes `input` uint8 (N, H, W, C) and normalises it itself. `nonzeros` says how weights
    are stored, see `tinyml.export.storage`.

    Raises:
        TinymlError: torch's exporter cannot lower the model.
    """
    shipped = copy.deepcopy(module).cpu().eval()
    bake_masks(shipped)
    freeze_codebooks(shipped)
    for quantizer, weight in weight_quantizers(shipped).values():
        quantizer.freeze(weight)
    example = torch.zeros(2, *input_shape)
    if pixels is not None:
        shipped = PixelInput(shipped, pixels)
        example = torch.zeros(2, *input_shape[1:], input_shape[0], dtype=torch.uint8)
    model = _export(shipped, example, opset=target.opset)
    biases = target.integer.biases if target.integer is not None else "int32"
    rewrite(
        model,
        ir_version=target.ir_version,
        integer_biases=biases == "int32",
        int4_weights=target.weight_storage == "int4",
    )
    pack_weights(model, nonzeros)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker's errors share no base class
        raise TinymlError(f"the exported model is not valid ONNX: {_cause(error)}") from error
    return model


def _export(module: nn.Module, example: Tensor, *, opset: int) -> onnx.ModelProto:
    with torch.inference_mode(False), torch.no_grad(), _quiet():
        try:
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[INPUT],
                output_names=_output_names(module, example),
                custom_translation_table=translations(),
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # torch.onnx wraps failures of many kinds
            raise TinymlError(f"the model cannot be exported to ONNX: {_cause(error)}") from error
    if program is None:
        raise TinymlError("the model cannot be exported to ONNX: torch returned nothing")
    model: onnx.ModelProto = program.model_proto
    found = next(item.version for item in model.opset_import if item.domain == "")
    if found != opset:
        raise TinymlError(
            f"the exporter made opset {found} where the target wants {opset}; choose a target with another opset"
        )
    return model


def _output_names(module: nn.Module, example: Tensor) -> list[str]:
    """Return `output`; or `output_0`, `output_1`, ... for a network with exits, which returns a tuple."""
    given = module(example)
    return [OUTPUT] if isinstance(given, Tensor) else [f"{OUTPUT}_{index}" for index in range(len(given))]


def _cause(error: BaseException) -> str:
    """Return the first line of the innermost cause: the exporter buries it under its own advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's prints, warnings and log lines from the user's terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        unheard = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(unheard), contextlib.redirect_stderr(unheard):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
