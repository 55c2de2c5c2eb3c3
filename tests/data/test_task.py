from dataclasses import replace

import numpy as np
import pytest

from tinyml.data import Augmentation, Split, Task
from tinyml.errors import DataError

MEAN, STD = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)


def pixel_split(count: int = 12, source: str = "file a.npz") -> Split:
    x = np.random.default_rng(0).integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)
    return Split(x=x, y=np.arange(count) % 3, source=source)


def pixel_task(**changes: object) -> Task:
    base = Task(
        name="tiny",
        kind="classification",
        input_shape=(3, 4, 5),
        classes=("a", "b", "c"),
        train=pixel_split(),
        mean=MEAN,
        std=STD,
    )
    return replace(base, fingerprint="", **changes)


def reconstruction_task(**changes: object) -> Task:
    x = np.zeros((4, 2), dtype=np.float32)
    test = Split(x=x, y=np.array([0, 1, 0, 1]), source="file t.npz")
    return replace(
        Task(name="r", kind="reconstruction", input_shape=(2,), classes=("normal", "anomalous"), test=test), **changes
    )


def test_inputs_are_the_normalised_pixels_channels_first():
    x = pixel_split().x
    expected = ((x / 255.0 - MEAN) / STD).transpose(0, 3, 1, 2)
    inputs = pixel_task().inputs(x)
    assert inputs.dtype == np.float32
    assert inputs.flags.c_contiguous
    # two roundings to float32 of values below 4: at most 2 units of 2^-22
    np.testing.assert_allclose(inputs, expected, rtol=0, atol=2**-20)


def test_inputs_equal_pixels_times_scale_plus_shift_bit_for_bit():
    task, x = pixel_task(), pixel_split().x
    again = (x.astype(np.float32) * task.pixel_scale + task.pixel_shift).transpose(0, 3, 1, 2)
    assert np.array_equal(task.inputs(x), again)


def test_floats_are_taken_as_they_are():
    x = np.array([[1.5, -2.0]], dtype=np.float32)
    assert np.array_equal(reconstruction_task().inputs(x), x)


def test_batches_come_in_order_and_the_last_is_smaller():
    task, split = pixel_task(), pixel_split()
    batches = list(task.batches(split, 5))
    assert [len(y) for _, y in batches] == [5, 5, 2]
    assert np.array_equal(np.concatenate([x for x, _ in batches]), task.inputs(split.x))
    assert np.array_equal(np.concatenate([y for _, y in batches]), split.y)


def test_a_batch_size_of_zero_is_refused():
    with pytest.raises(DataError, match="batch_size is 0"):
        list(pixel_task().batches(pixel_split(), 0))


def test_calibration_draws_distinct_training_images_by_the_seed():
    task = pixel_task()
    drawn = task.calibration_inputs(8, seed=1)
    assert len({image.tobytes() for image in drawn}) == 8
    assert {image.tobytes() for image in drawn} <= {image.tobytes() for image in task.inputs(task.train.x)}
    assert np.array_equal(drawn, task.calibration_inputs(8, seed=1))
    assert not np.array_equal(drawn, task.calibration_inputs(8, seed=2))


def test_calibration_examples_keep_their_labels():
    task = pixel_task()
    drawn = task.calibration_examples(8, seed=1)
    assert np.array_equal(task.inputs(drawn.x), task.calibration_inputs(8, seed=1))
    rows = [int((task.train.x == image).all(axis=(1, 2, 3)).argmax()) for image in drawn.x]
    assert drawn.y.tolist() == task.train.y[rows].tolist()


def test_calibration_without_train_falls_back_to_validation_and_says_so(caplog: pytest.LogCaptureFixture):
    task = pixel_task(train=None, validation=pixel_split(source="file v.npz"))
    assert len(task.calibration_inputs(5, seed=0)) == 5
    assert task.calibration_split.source == "file v.npz"
    assert "Calibrating on validation data" in caplog.text


def test_calibration_takes_all_images_where_there_are_fewer_and_says_so(caplog: pytest.LogCaptureFixture):
    assert len(pixel_task().calibration_inputs(512, seed=0)) == 12
    assert "all 12 images of file a.npz: 512 were asked for" in caplog.text


def test_calibration_never_touches_the_test_split():
    with pytest.raises(DataError, match="neither train nor validation"):
        pixel_task(train=None, test=pixel_split()).calibration_inputs(5, seed=0)


def test_the_score_of_a_classification_is_right_or_wrong_for_each_example():
    logits = np.array([[0, 1, 0], [2, 1, 0], [0, np.nan, 0], [np.inf, 0, 0]])
    scores = pixel_task().score(logits, np.array([1, 1, 1, 0]), np.zeros((4, 3, 4, 5)))
    assert scores.tolist() == [True, False, False, False]
    assert pixel_task().score_name == "accuracy"


def test_the_score_of_a_reconstruction_is_the_auc_of_its_errors():
    inputs = np.zeros((4, 2), dtype=np.float32)
    outputs = np.array([[1, 1], [2, 2], [3, 3], [4, 4]], dtype=np.float32)
    # errors 1, 4, 9, 16 for normal, anomalous, normal, anomalous: 3 of the 4 pairs are in order
    assert float(reconstruction_task().score(outputs, np.array([0, 1, 0, 1]), inputs)) == 0.75
    assert reconstruction_task().score_name == "AUC"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"mean": (0.5, 0.25, 0.1)}, id="mean"),
        pytest.param({"augmentation": Augmentation(flip=True)}, id="augmentation"),
        pytest.param({"test": pixel_split()}, id="one more split"),
        pytest.param({"train": replace(pixel_split(), y=np.zeros(12, dtype=np.int64))}, id="labels"),
    ],
)
def test_the_fingerprint_changes_with(changes: dict[str, object]):
    assert pixel_task(**changes).fingerprint != pixel_task().fingerprint


def test_the_fingerprint_is_the_same_for_the_same_data():
    assert pixel_task().fingerprint == pixel_task().fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"train": None}, "has no data", id="no split"),
        pytest.param(
            {"classes": ("a", "b")}, r"4 labels out of range, the first y\[2\] = 2; allowed: 0 to 1", id="labels"
        ),
        pytest.param(
            {"train": replace(pixel_split(), y=np.full(12, -1))}, "12 labels out of range", id="negative labels"
        ),
        pytest.param({"input_shape": (3, 5, 4)}, r"input_shape is \(3, 5, 4\); the data has \(3, 4, 5\)", id="shape"),
        pytest.param({"mean": (0.5,)}, "mean has 1 values; the images have 3 channels", id="too few means"),
        pytest.param({"mean": (124.0, 116.0, 104.0)}, "allowed: 0 to 1 .of pixels scaled", id="mean of 0-255"),
        pytest.param({"std": (0.0, 1.0, 1.0)}, "allowed: above 0 to 1", id="zero std"),
        pytest.param({"augmentation": Augmentation(crop=5)}, "crop is 5; allowed: 0 to 4 pixels", id="crop"),
        pytest.param({"augmentation": Augmentation(cutout=-1)}, "cutout is -1", id="cutout"),
        pytest.param(
            {"test": Split(x=np.zeros((1, 8, 8, 3), np.uint8), y=np.zeros(1, np.int64), source="file b.npz")},
            r"file b.npz: examples are uint8 \(8, 8, 3\), but uint8 \(4, 5, 3\) in file a.npz",
            id="splits of two shapes",
        ),
    ],
)
def test_a_task_refuses(changes: dict[str, object], message: str):
    with pytest.raises(DataError, match=message):
        pixel_task(**changes)


def test_all_faults_of_a_task_are_told_together():
    with pytest.raises(DataError, match=r"(?s)out of range.*mean has 1.*input_shape"):
        pixel_task(classes=("a",), mean=(0.5,), input_shape=(1, 1, 1))


def test_float_data_takes_no_normalisation():
    with pytest.raises(DataError, match="float data is taken as it is"):
        reconstruction_task(mean=(0.5,), std=(0.5,))


def test_a_reconstruction_trains_on_normal_examples_only():
    with pytest.raises(DataError, match="2 anomalous examples; train on normal ones"):
        reconstruction_task(train=reconstruction_task().test)
