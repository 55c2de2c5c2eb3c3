"""Thresholds in a file: what was written is read, and a person may change it."""

import numpy as np
import onnx
import pytest
from exit_models import images, tiny
from onnx import numpy_helper

from tinyml.errors import RecipeError, TargetError
from tinyml.export.exits import exit_policy, join_stages, set_thresholds, split_stages
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.session import open_session

POLICY = ExitPolicy(rule="margin", thresholds=(0.4321, 2.0), temperatures=(1.37, 0.9))


def joined() -> onnx.ModelProto:
    return join_stages(split_stages(tiny()), POLICY)


def test_the_policy_of_a_file_is_the_one_it_was_joined_with() -> None:
    assert exit_policy(joined()) == POLICY


def test_scalars_of_the_network_that_are_called_alike_are_not_its_thresholds() -> None:
    model = joined()
    for name in ("threshold_of_the_stem", "temperature_of_attention"):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(7, np.float32), name))
    assert exit_policy(model) == POLICY


def test_a_changed_threshold_is_obeyed() -> None:
    changed = set_thresholds(joined(), {0: 0})
    assert exit_policy(changed).thresholds == (0, 2.0)
    assert int(open_session(changed.SerializeToString()).run(images(1))["exit"][0]) == 0


def test_the_file_that_was_given_keeps_its_thresholds() -> None:
    before = joined()
    set_thresholds(before, {0: 0.9, 1: 0.9})
    assert before == joined()


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"exit 1: 1\.5: margin lies from 0"):
        set_thresholds(joined(), {1: 1.5})


def test_the_last_exit_has_no_threshold() -> None:
    with pytest.raises(TargetError, match="no threshold of exit 2: this file has those of exits 0 to 1"):
        set_thresholds(joined(), {2: np.pi})


def test_a_file_without_exits_is_refused() -> None:
    with pytest.raises(TargetError, match="not one with exits that tinyml joined"):
        exit_policy(tiny())
