"""Export: one ONNX file for a named target."""

from tinyml.export.lower import to_onnx
from tinyml.export.pixels import PixelNormalization
from tinyml.export.storage import Nonzeros

__all__ = ["Nonzeros", "PixelNormalization", "to_onnx"]
