import numpy as np
import pytest
from onnx import TensorProto, helper

from tinyml.data.split import Split
from tinyml.data.task import Task
from tinyml.errors import DataError, UsageError
from tinyml.measure.inputs import evaluation_split, input_stream, network_inputs
from tinyml.runtime.session import open_session
from tinyml.runtime.timer import TimerSettings


def pixels(count, seed):
    generator = np.random.default_rng(seed)
    return Split(
        x=generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8), y=np.arange(count) % 2, source=f"seed {seed}"
    )


TASK = Task(
    name="dots", kind="classification", input_shape=(3, 4, 4), classes=("a", "b"), validation=pixels(4, 1),
    test=pixels(6, 2), mean=(0.5,) * 3, std=(0.25,) * 3,
)  # fmt: skip


@pytest.fixture
def takes(save_graph):
    def session(shape, input_type="float"):
        nodes = [helper.make_node("Cast", ["input"], ["c"], to=TensorProto.FLOAT),
                 helper.make_node("Identity", ["c"], ["output"])]  # fmt: skip
        path = save_graph(nodes, inputs={"input": shape}, outputs={"output": shape}, input_type=input_type)
        return open_session(path)

    return session


def test_a_float_network_gets_normalised_channels_first(takes):
    fed = network_inputs(takes(["batch", 3, 4, 4]), TASK, TASK.test.x)
    expected = (TASK.test.x.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(fed, expected, atol=1e-5)  # float32 of numbers up to 2
    assert fed.dtype == np.float32


def test_a_network_with_uint8_input_gets_the_pixels(takes):
    fed = network_inputs(takes(["batch", 4, 4, 3], "uint8"), TASK, TASK.test.x)
    np.testing.assert_array_equal(fed, TASK.test.x)
    assert fed.dtype == np.uint8


def test_a_task_of_another_shape_is_refused_with_both(takes):
    with pytest.raises(DataError, match=r"takes inputs \('batch', 3, 8, 8\); the task 'dots' gives \(6, 3, 4, 4\)"):
        network_inputs(takes(["batch", 3, 8, 8]), TASK, TASK.test.x)


def test_float_data_cannot_feed_a_pixel_network(takes):
    with pytest.raises(DataError, match="takes uint8 pixels"):
        network_inputs(takes(["batch", 4, 4, 3], "uint8"), TASK, TASK.test.x.astype(np.float32))


def test_figures_come_from_the_test_split_and_else_from_validation():
    assert evaluation_split(TASK)[0] == "test"
    without = Task(name="v", kind="classification", input_shape=(3, 4, 4), classes=("a", "b"),
                   validation=pixels(4, 1), mean=(0.5,) * 3, std=(0.25,) * 3)  # fmt: skip
    assert evaluation_split(without)[0] == "validation"


def test_two_networks_are_timed_on_the_same_examples(takes):
    settings = {"task": TASK, "input_shape": (), "batch": 1, "seed": 3}
    floats = input_stream(takes(["batch", 3, 4, 4]), **settings)
    raw = input_stream(takes(["batch", 4, 4, 3], "uint8"), **settings)
    assert len(floats) == len(raw) == 6
    for a, b in zip(floats, raw, strict=True):
        np.testing.assert_array_equal(a, TASK.inputs(b))


@pytest.mark.parametrize("input_type", ["float", "uint8"])
def test_random_inputs_have_the_files_type_and_the_seed_decides(takes, input_type):
    session = takes(["batch", 5], input_type)
    first, again, other = (
        input_stream(session, task=None, input_shape=(), batch=2, seed=seed)[0] for seed in (1, 1, 2)
    )
    assert (first.shape, first.dtype) == ((2, 5), session.input_dtype)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_open_dimensions_come_from_the_given_shape(takes):
    session = takes(["batch", 3, "h", "w"])
    assert input_stream(session, task=None, input_shape=(3, 5, 6), batch=1, seed=0)[0].shape == (1, 3, 5, 6)
    with pytest.raises(UsageError, match="give --input-shape with 3 sizes"):
        input_stream(session, task=None, input_shape=(), batch=1, seed=0)


def test_another_batch_than_the_files_is_refused(takes):
    with pytest.raises(UsageError, match="fixed batch of 1; batch 8"):
        input_stream(takes([1, 5]), task=None, input_shape=(), batch=8, seed=0)


def test_where_time_depends_on_the_example_none_is_drawn_twice(takes):
    session = takes(["batch", 3, 4, 4])
    stream = input_stream(session, task=TASK, input_shape=(), batch=1, seed=0, every_call=True)
    assert len(stream) == len(TASK.test.x)
    assert len({x.tobytes() for x in stream}) == len(stream)


def test_random_inputs_are_then_as_many_as_the_timer_has_calls(takes):
    session, usual = takes(["batch", 2]), TimerSettings()
    stream = input_stream(session, task=None, input_shape=(), batch=1, seed=0, every_call=True)
    assert len(stream) == usual.rounds * usual.block
