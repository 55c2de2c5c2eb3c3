"""Export: one ONNX file for a named target."""

from tinyml.export.lower import to_onnx
from tinyml.export.pixels import PixelNormalization

__all__ = ["PixelNormalization", "to_onnx"]
