"""The data card: a YAML file that names data sets and says how a network sees them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tinyml.data.cifar10 import CLASSES as CIFAR10_CLASSES
from tinyml.data.cifar10 import read_cifar10
from tinyml.data.image_folder import class_folders, read_image_folder
from tinyml.data.npz import read_npz
from tinyml.data.split import Split, carve_validation, only_normal
from tinyml.data.task import Augmentation, Task
from tinyml.errors import DataError
from tinyml.yaml_file import Document, read_document

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


class AugmentCard(BaseModel):
    """What is done at random to training images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: Annotated[int, Field(ge=0, description="pixels of zero padding before a random crop")] = 0
    flip: Annotated[bool, Field(description="mirror half of the images left to right")] = False
    cutout: Annotated[int, Field(ge=0, description="side in pixels of a random square of zeros")] = 0


class Card(BaseModel):
    """A data card as it is written; all paths are relative to the card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    name: Annotated[str, Field(min_length=1)]
    task: Literal["classification", "reconstruction"]
    kind: Literal["npz", "cifar10", "image-folder"]
    train: Annotated[str | None, Field(description="file or folder to learn from")] = None
    test: Annotated[str | None, Field(description="file or folder that only reports touch")] = None
    validation: Annotated[
        str | Annotated[float, Field(gt=0, lt=1)] | None,
        Field(description="file or folder for every choice, or a share of train to carve off"),
    ] = None
    mean: Annotated[tuple[float, ...], Field(description="one value a channel, of pixels scaled to 0-1")] = ()
    std: Annotated[tuple[float, ...], Field(description="one value a channel, of pixels scaled to 0-1")] = ()
    augment: AugmentCard = AugmentCard()
    classes: Annotated[
        tuple[str, ...] | Annotated[int, Field(ge=1)] | None,
        Field(description="names in the order of the labels, or how many there are"),
    ] = None
    size: Annotated[
        tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None,
        Field(description="[height, width] that the images of folders are brought to"),
    ] = None


def load_card(path: Path) -> Task:
    """Return the Task that a data card describes, with its data read into memory.

    Raises:
        DataError: naming every fault of the card with its line, or every fault of the data behind it.
        MissingDependency: where image folders are wanted and pillow is not installed.
    """
    document = read_document(path, error=DataError)
    card = document.validate(Card, document.value) if isinstance(document.value, dict) else None
    if card is not None:
        _check_fields(card, path.parent, document)
    document.raise_faults()
    if card is None:
        raise DataError(f"{path}: is not a data card.")
    splits, classes = _read_splits(card, path.parent, document)
    document.raise_faults()
    try:
        return _task(card, splits, classes)
    except DataError as faults:
        raise DataError(f"{path}: {faults}") from faults


def _check_fields(card: Card, folder: Path, document: Document) -> None:
    """Note what no single field can tell."""
    if card.train is card.test is card.validation is None:
        document.fault((), "names no data; give at least one of train, validation, test")
    if isinstance(card.validation, float) and card.train is None:
        document.fault(("validation",), "is a share of train, but there is no train")
    if bool(card.mean) != bool(card.std):
        document.fault(("mean",) if card.mean else ("std",), "mean and std are given together or not at all")
    if card.size is not None and card.kind != "image-folder":
        document.fault(("size",), f"is for kind image-folder, not {card.kind}")
    if card.classes is None and (card.task, card.kind) == ("classification", "npz"):
        document.fault((), "classes: missing; give the names in the order of the labels, or how many there are")
    if isinstance(card.classes, tuple) and len(set(card.classes)) < len(card.classes):
        twice = next(name for name in card.classes if card.classes.count(name) > 1)
        document.fault(("classes",), f"'{twice}' stands there twice")
    seen: dict[Path, str] = {}
    for part, value in _named(card).items():
        place = (folder / value).resolve()
        # The published CIFAR-10 folder holds its training and its test images together.
        if place in seen and not (card.kind == "cifar10" and place.is_dir() and "train" in (part, seen[place])):
            document.fault((part,), f"is the same data as {seen[place]}: what is learned or chosen on cannot test")
        seen.setdefault(place, part)


def _named(card: Card) -> dict[Part, str]:
    """Return the splits that the card names by a path."""
    values: dict[Part, str | float | None] = {"train": card.train, "validation": card.validation, "test": card.test}
    return {part: value for part, value in values.items() if isinstance(value, str)}


def _read_splits(card: Card, folder: Path, document: Document) -> tuple[dict[Part, Split], tuple[str, ...]]:
    """Return the splits and the names of the classes; what cannot be read is noted in the document."""
    classes = _declared_classes(card)
    splits: dict[Part, Split] = {}
    for part, value in _named(card).items():
        path = folder / value
        try:
            if card.kind == "npz":
                splits[part] = read_npz(path)
            elif card.kind == "cifar10":
                splits[part] = read_cifar10(path, part)
            else:
                classes = classes or tuple(class_folders(path))
                splits[part] = read_image_folder(path, classes, card.size)
        except DataError as fault:
            document.fault((part,), str(fault))
    if isinstance(card.validation, float) and "train" in splits:
        splits["train"], splits["validation"] = carve_validation(splits["train"], card.validation)
    if card.task == "reconstruction" and "train" in splits:
        splits["train"] = only_normal(splits["train"])
    return splits, classes


def _declared_classes(card: Card) -> tuple[str, ...]:
    if isinstance(card.classes, int):
        return tuple(str(label) for label in range(card.classes))
    if card.classes is not None:
        return card.classes
    if card.kind == "cifar10":
        return CIFAR10_CLASSES
    return ("normal", "anomalous") if card.task == "reconstruction" and card.kind == "npz" else ()


def _task(card: Card, splits: dict[Part, Split], classes: tuple[str, ...]) -> Task:
    x = next(iter(splits.values())).x
    pixels = x.dtype == "uint8"
    channels = x.shape[3] if pixels else 0
    return Task(
        name=card.name,
        kind=card.task,
        input_shape=(channels, *x.shape[1:3]) if pixels else x.shape[1:],
        classes=classes,
        train=splits.get("train"),
        validation=splits.get("validation"),
        test=splits.get("test"),
        mean=card.mean or (0.0,) * channels,
        std=card.std or (1.0,) * channels,
        augmentation=Augmentation(crop=card.augment.crop, flip=card.augment.flip, cutout=card.augment.cutout),
    )
