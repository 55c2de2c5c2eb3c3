import numpy as np
import pytest

from tinyml.data import Augmentation, augment

IMAGES = np.random.default_rng(0).integers(1, 256, (64, 6, 8, 3), dtype=np.uint8)


def augmented(augmentation: Augmentation, x: np.ndarray = IMAGES, seed: int = 3) -> np.ndarray:
    return augment(x, augmentation, np.random.default_rng(seed))


def test_each_crop_is_a_window_of_the_padded_image():
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for image, canvas in zip(augmented(Augmentation(crop=2)), padded, strict=True):
        windows = [canvas[top : top + 6, left : left + 8] for top in range(5) for left in range(5)]
        assert any(np.array_equal(image, window) for window in windows)


def test_crops_reach_every_offset():
    point = np.zeros((2000, 5, 5, 1), np.uint8)
    point[:, 2, 2] = 1
    places = np.argwhere(augmented(Augmentation(crop=1), point))[:, 1:3]
    assert {tuple(place) for place in places} == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}


def test_each_image_is_kept_or_mirrored_left_to_right():
    mirrored = [
        np.array_equal(image, before[:, ::-1])
        for image, before in zip(augmented(Augmentation(flip=True)), IMAGES, strict=True)
        if np.array_equal(image, before[:, ::-1]) or np.array_equal(image, before)
    ]
    assert len(mirrored) == 64
    assert 16 < sum(mirrored) < 48  # 32 expected, four standard deviations on both sides


def test_a_cutout_is_one_square_of_zeros_cut_off_at_the_border():
    for image in augmented(Augmentation(cutout=3)):
        rows, columns = np.nonzero((image == 0).all(axis=2))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width
        assert 2 <= height <= 3
        assert 2 <= width <= 3


def test_float_images_with_channels_first_change_as_bytes_with_channels_last():
    everything = Augmentation(crop=2, flip=True, cutout=3)
    floats = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2), dtype=np.float32)
    assert np.array_equal(augmented(everything, floats), augmented(everything).transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    "augmentation",
    [
        pytest.param(Augmentation(), id="nothing"),
        pytest.param(Augmentation(flip=True), id="flip"),
        pytest.param(Augmentation(cutout=2), id="cutout"),
        pytest.param(Augmentation(crop=2, flip=True, cutout=3), id="all"),
    ],
)
def test_the_caller_s_images_shape_and_type_stay(augmentation: Augmentation):
    before = IMAGES.copy()
    after = augmented(augmentation)
    assert np.array_equal(IMAGES, before)
    assert (after.shape, after.dtype) == (IMAGES.shape, IMAGES.dtype)


def test_the_same_generator_gives_the_same_images():
    everything = Augmentation(crop=2, flip=True, cutout=3)
    assert np.array_equal(augmented(everything, seed=1), augmented(everything, seed=1))
    assert not np.array_equal(augmented(everything, seed=1), augmented(everything, seed=2))


@pytest.mark.parametrize(
    "augmentation",
    [
        pytest.param(Augmentation(crop=2), id="crop"),
        pytest.param(Augmentation(flip=True), id="flip"),
        pytest.param(Augmentation(cutout=3), id="cutout"),
        pytest.param(Augmentation(crop=2, flip=True, cutout=3), id="all"),
    ],
)
def test_parts_of_a_batch_change_as_they_do_in_the_whole(augmentation: Augmentation):
    parts = [slice(0, 24), slice(24, 64)]
    separately = [augment(IMAGES[part], augmentation, np.random.default_rng(3), part=part, total=64) for part in parts]
    assert np.array_equal(np.concatenate(separately), augmented(augmentation))
