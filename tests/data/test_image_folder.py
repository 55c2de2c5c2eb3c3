import sys
from pathlib import Path

import numpy as np
import pytest

from tinyml.data.image_folder import class_folders, read_image_folder
from tinyml.errors import DataError, MissingDependency

Image = pytest.importorskip("PIL.Image", reason="pillow is not installed")

CLASSES = ("chat", "été")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two images of 4 x 6 pixels, each of one grey level."""
    for label, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB", (6, 4), (10 * label + number,) * 3).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_images_come_class_after_class_in_the_order_of_their_names(folder: Path):
    split = read_image_folder(folder, CLASSES, None)
    assert split.x.shape == (4, 4, 6, 3)
    assert split.x[:, 0, 0, 0].tolist() == [0, 1, 10, 11]
    assert split.y.tolist() == [0, 0, 1, 1]


def test_class_folders_are_sorted_and_files_and_hidden_names_ignored(folder: Path):
    (folder / ".cache").mkdir()
    (folder / "notes.txt").touch()
    assert class_folders(folder) == ["chat", "été"]


def test_size_scales_to_cover_and_crops_the_centre(folder: Path):
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, 2:6] = 200
    Image.fromarray(image).save(folder / "chat" / "0.png")
    split = read_image_folder(folder, CLASSES, (4, 4))
    assert split.x.shape == (4, 4, 4, 3)
    assert (split.x[0] == 200).all()


def test_grey_images_become_three_channels(folder: Path):
    Image.new("L", (6, 4), 77).save(folder / "chat" / "0.png")
    assert (read_image_folder(folder, CLASSES, None).x[0] == 77).all()


def test_an_image_of_another_size_is_named_with_the_cure(folder: Path):
    Image.new("RGB", (5, 5)).save(folder / "été" / "1.png")
    with pytest.raises(DataError, match=r"1.png: is 5 x 5 pixels, others are 4 x 6; put `size: \[height, width\]`"):
        read_image_folder(folder, CLASSES, None)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n\x00\x00"], ids=["empty", "text", "cut off"])
def test_a_damaged_image_is_named(folder: Path, content: bytes):
    (folder / "chat" / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=r"chat/1.png: cannot be read as an image"):
        read_image_folder(folder, CLASSES, None)


def test_a_truncated_image_is_named(folder: Path):
    file = folder / "chat" / "1.png"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"chat/1.png: cannot be read as an image"):
        read_image_folder(folder, CLASSES, None)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        pytest.param(("chat", "été", "chien"), "no folder for class chien", id="folder missing"),
        pytest.param(("chat",), "folder été is not among the classes", id="folder too many"),
    ],
)
def test_folders_that_are_not_the_classes_are_refused(folder: Path, classes: tuple[str, ...], message: str):
    with pytest.raises(DataError, match=message):
        read_image_folder(folder, classes, None)


def test_a_class_without_images_is_refused(folder: Path):
    for file in (folder / "chat").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="chat: no images in this folder"):
        read_image_folder(folder, CLASSES, None)


@pytest.mark.parametrize(("name", "message"), [("no", "no such folder"), ("chat", "no folders inside")])
def test_a_place_without_class_folders_is_refused(folder: Path, name: str, message: str):
    with pytest.raises(DataError, match=message):
        class_folders(folder / name)


def test_without_pillow_the_command_that_installs_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tinyml\[images\]'"):
        read_image_folder(folder, CLASSES, None)
