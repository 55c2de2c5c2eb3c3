from pathlib import Path

import numpy as np
import pytest

from tinyml.data import Augmentation, load_task
from tinyml.data.card import load_card
from tinyml.errors import DataError

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
CARD = """\
version: 1
name: tiny
task: classification
kind: npz
train: train.npz
test: test.npz
validation: 0.25
mean: [0.5]
std: [0.25]
augment: {crop: 1, flip: true}
classes: [zero, one]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a non-ASCII name holding 16 training and 4 test images of 4 x 4 pixels."""
    place = tmp_path / "каталог"
    place.mkdir()
    for name, count in (("train", 16), ("test", 4)):
        x = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 1), dtype=np.uint8)
        np.savez(place / f"{name}.npz", x=x, y=np.arange(count) % 2)
    return place


def written(folder: Path, text: str) -> Path:
    path = folder / "card.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_card_is_read_with_paths_beside_it(folder: Path):
    task = load_card(written(folder, CARD))
    assert {name: len(split) for name, split in task.splits.items()} == {"train": 12, "validation": 4, "test": 4}
    assert (task.input_shape, task.classes, task.mean, task.std) == ((1, 4, 4), ("zero", "one"), (0.5,), (0.25,))
    assert task.augmentation == Augmentation(crop=1, flip=True)
    assert task.validation.source.startswith("carved from train")


def test_a_validation_file_is_used_whole(folder: Path):
    (folder / "v.npz").write_bytes((folder / "test.npz").read_bytes())
    task = load_card(written(folder, CARD.replace("0.25\nmean", "v.npz\nmean")))
    assert (len(task.train), task.validation.source) == (16, "file v.npz")


def test_pixels_without_mean_and_std_are_scaled_to_0_1(folder: Path):
    task = load_card(written(folder, CARD.replace("mean: [0.5]\nstd: [0.25]\n", "")))
    assert (task.mean, task.std) == ((0.0,), (1.0,))


def test_classes_may_be_a_count(folder: Path):
    assert load_card(written(folder, CARD.replace("[zero, one]", "2"))).classes == ("0", "1")


def test_a_reconstruction_trains_on_the_normal_examples(folder: Path):
    text = CARD.replace("classification", "reconstruction").replace("classes: [zero, one]\n", "")
    task = load_card(written(folder, text))
    assert task.classes == ("normal", "anomalous")
    assert task.train.y.tolist() == [0] * 6
    assert sorted(task.validation.y) == [0, 0, 1, 1]


def test_an_image_folder_takes_its_classes_from_the_folders(folder: Path):
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        image.new("RGB", (8, 6)).save(folder / "images" / name / "1.png")
    task = load_card(
        written(folder, "{version: 1, name: i, task: classification, kind: image-folder, test: images, size: [4, 5]}")
    )
    assert (task.classes, task.input_shape) == (("a", "b"), (3, 4, 5))


def test_the_published_cifar10_folder_serves_train_and_test(folder: Path):
    for name in [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]:
        (folder / name).write_bytes(bytes([9]) + bytes(3072))
    task = load_card(written(folder, "{version: 1, name: c, task: classification, kind: cifar10, train: ., test: .}"))
    assert (len(task.train), len(task.test), task.classes[9]) == (5, 1, "truck")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("name:", "nmae:", r"2:1: nmae: unknown key.*Did you mean 'name'", id="misspelt key"),
        pytest.param("kind: npz", "kind: npy", r"4:1: kind: must be .*'npz'", id="unknown kind"),
        pytest.param("kind: npz", "kind: npz\nkind: npz", "5:1: .*kind", id="key twice"),
        pytest.param("kind: npz", "kind:\tnpz\n\tx: 1", "tab", id="tab"),
        pytest.param("version: 1", "version: 2", "1:1: version: must be 1", id="version"),
        pytest.param("0.25\nmean", "1.5\nmean", "7:1: validation: ", id="share above one"),
        pytest.param("crop: 1", "crop: -1", "crop: must be greater than or equal to 0", id="negative crop"),
        pytest.param("flip: true", "flip: 1", "flip: must be true or false", id="number for a switch"),
        pytest.param("std: [0.25]\n", "", "8:1: mean: mean and std are given together", id="mean alone"),
        pytest.param(
            "train: train.npz\n", "", "validation: is a share of train, but there is no train", id="share of nothing"
        ),
        pytest.param("test: test.npz", "test: train.npz", "6:1: test: is the same data as train", id="test is train"),
        pytest.param(
            "test: test.npz", "test: tset.npz", r"6:1: test: .*no such file. Did you mean 'test.npz'", id="missing file"
        ),
        pytest.param("[zero, one]", "[zero, zero]", "classes: 'zero' stands there twice", id="class twice"),
        pytest.param("classes: [zero, one]\n", "", "classes: missing", id="no classes"),
        pytest.param("[zero, one]", "[zero]", "labels out of range", id="label out of range"),
        pytest.param("mean: [0.5]", "mean: [0.5, 0.5]", "mean has 2 values; the images have 1 channels", id="channels"),
        pytest.param("kind: npz", "kind: npz\nsize: [4, 4]", "size: is for kind image-folder", id="size"),
    ],
)
def test_a_faulty_card_is_refused_at_its_place(folder: Path, old: str, new: str, message: str):
    assert old in CARD
    with pytest.raises(DataError, match=message) as refusal:
        load_card(written(folder, CARD.replace(old, new)))
    assert "card.yaml" in str(refusal.value)


def test_all_faults_of_a_card_are_told_together(folder: Path):
    with pytest.raises(DataError, match=r"(?s)kind.*validation"):
        load_card(written(folder, CARD.replace("npz\ntrain", "npy\ntrain").replace("0.25\nmean", "2.0\nmean")))


def test_all_faults_of_the_data_are_told_together(folder: Path):
    (folder / "train.npz").write_bytes(b"PK")
    (folder / "test.npz").unlink()
    with pytest.raises(DataError, match=r"(?s)train.npz: is a truncated.*test.npz: there is no such file"):
        load_card(written(folder, CARD))


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("[1]", "must be a mapping")])
def test_a_file_that_is_no_card_is_refused(folder: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        load_card(written(folder, text))


@pytest.mark.parametrize(
    ("name", "counts"), [("cifar10-jpeg", [20_000, 1_500, 5_000]), ("cifar10-lossless", [3_601, 399, 500])]
)
def test_the_development_cards_load(name: str, counts: list[int]):
    if not SHARED.exists():
        pytest.skip("the development data is not beside this checkout")
    task = load_task(str(SHARED / f"{name}.yaml"))
    assert [len(split) for split in task.splits.values()] == counts
