"""Small images as PNG files inside a page (ISO/IEC 15948): 8 bits a channel, grey or RGB, no filter."""

import base64
import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES: Final = {1: 0, 3: 2}  # grey, RGB


def png(image: NDArray[np.uint8]) -> bytes:
    """Return the file of an image (H, W, 1) or (H, W, 3)."""
    height, width, channels = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # the first byte of a row names its filter: none
    rows[:, 1:] = image.reshape(height, -1)
    return (
        _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    )


def png_address(image: NDArray[np.uint8]) -> str:
    """Return the image as an address that a page can show without a file."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def can_be_drawn(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bool:
    """Return whether examples (N, H, W, C) of this shape and type are images that a page can show."""
    return dtype == np.uint8 and len(shape) == 4 and shape[3] in _COLOUR_TYPES


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
