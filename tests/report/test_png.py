"""PNG files, read by another library."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tinyml.report.png import can_be_drawn, png, png_address


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_another_library_reads_the_same_pixels(channels: int, mode: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    with Image.open(io.BytesIO(png(image))) as read:
        assert read.mode == mode
        np.testing.assert_array_equal(np.asarray(read).reshape(image.shape), image)


def test_the_address_is_the_file() -> None:
    image = np.zeros((2, 2, 1), dtype=np.uint8)
    head, content = png_address(image).split(",")
    assert (head, base64.b64decode(content)) == ("data:image/png;base64", png(image))


@pytest.mark.parametrize(
    ("shape", "dtype", "drawn"),
    [((9, 4, 4, 3), "uint8", True), ((9, 4, 4, 2), "uint8", False), ((9, 3, 4, 4), "float32", False)],
)
def test_only_grey_and_rgb_pixels_are_drawn(shape: tuple[int, ...], dtype: str, drawn: bool) -> None:
    assert can_be_drawn(shape, np.dtype(dtype)) is drawn
