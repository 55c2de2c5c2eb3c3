import numpy as np
import pytest
from onnx import helper

from tinyml.data.split import Split
from tinyml.data.task import Task
from tinyml.errors import DataError
from tinyml.measure.accuracy import Scores, accuracy, accuracy_difference, area_under_curve, score
from tinyml.measure.statistics import paired_difference_interval, wilson_interval
from tinyml.progress import Silent
from tinyml.runtime.session import open_session


def task_of(kind, x, y, classes=()):
    split = Split(x=np.float32(x), y=np.array(y, np.int64), source="a table")
    return Task(name="table", kind=kind, input_shape=split.x.shape[1:], classes=classes, test=split)


@pytest.fixture
def network(save_graph):
    def opened(operator, batch="batch", width=2):
        inner = ["input", "input"] if operator == "Add" else ["input"]
        shape = [batch, width]
        return open_session(
            save_graph(
                [helper.make_node(operator, inner, ["output"])], inputs={"input": shape}, outputs={"output": shape}
            )
        )

    return opened


LOGITS = [[1, 0], [0, 1], [3, 2], [0, 5]]


@pytest.mark.parametrize("batch", ["batch", 1])
def test_accuracy_is_the_share_of_largest_logits_that_are_right(network, batch):
    task = task_of("classification", LOGITS, [0, 1, 1, 1], ("a", "b"))
    measured = accuracy(score(network("Identity", batch), task, Silent()))
    assert (measured.value, measured.n, measured.interval) == (0.75, 4, wilson_interval(3, 4))
    assert (measured.details["split"], measured.details["right"]) == ("test", 3)


def test_an_output_that_is_not_finite_is_wrong_and_told(network):
    task = task_of("classification", [[-1, -2], [1, 0]], [0, 0], ("a", "b"))
    measured = accuracy(score(network("Log"), task, Silent()))
    assert (measured.value, measured.details["not_finite_counted_wrong"]) == (0.0, 2)


def test_a_network_for_other_classes_is_refused(network):
    task = task_of("classification", LOGITS, [0, 1, 1, 1], ("a", "b", "c"))
    with pytest.raises(DataError, match=r"outputs \(2,\); the task 'table' has 3 classes"):
        score(network("Identity"), task, Silent())


def scores_of(*right):
    return Scores(right=np.array(right, bool), not_finite=0, source={"task": "table"})


def test_a_difference_is_taken_example_by_example():
    measured = accuracy_difference(scores_of(1, 1, 1, 0, 0), scores_of(1, 0, 0, 1, 0))
    assert (measured.metric, measured.unit, measured.value, measured.n) == ("accuracy_difference", "share", -0.2, 5)
    assert (measured.details["gained"], measured.details["lost"]) == (1, 2)
    assert measured.interval == paired_difference_interval(both=1, lost=2, gained=1, neither=1)


def test_a_reconstruction_is_scored_by_its_error(network):
    # x + x misses x by |x|: the anomalous example with the largest x is above both normal ones, the other above one
    task = task_of("reconstruction", [[1, 1], [3, 3], [2, 2], [4, 4]], [0, 0, 1, 1])
    measured = area_under_curve(network("Add"), task, Silent(), seed=0)
    assert (measured.metric, measured.value, measured.n) == ("auc", 0.75, 4)
    assert measured.interval[0] <= 0.75 <= measured.interval[1]
