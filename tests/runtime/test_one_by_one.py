"""One-file networks with exits take examples one by one."""

import numpy as np
import pytest
from exit_models import images, outputs, tiny

from tinyml.export.exits import join_stages, split_stages
from tinyml.runtime.exit_policy import ExitPolicy
from tinyml.runtime.one_by_one import answer_each, takes_exits
from tinyml.runtime.session import Session, open_session, open_stage
from tinyml.runtime.staged import logits_at_exits

X = images(30)
POLICY = ExitPolicy(rule="max_probability", thresholds=(0.6, 0.7), temperatures=(1.5, 0.8))


@pytest.fixture(scope="module")
def one_file() -> Session:
    return open_session(join_stages(split_stages(tiny()), POLICY).SerializeToString())


def test_only_a_joined_file_takes_exits(one_file: Session) -> None:
    assert takes_exits(one_file)
    assert not takes_exits(open_session(tiny().SerializeToString()))


def test_each_example_leaves_where_the_policy_says(one_file: Session) -> None:
    every = np.stack(outputs(tiny(), X))
    logits, taken = answer_each(one_file, X)
    np.testing.assert_array_equal(taken, POLICY.taken(every))
    np.testing.assert_allclose(logits, every[taken, np.arange(30)], atol=1e-5 * np.ptp(every))


def test_stages_without_leaving_give_the_logits_of_all_exits() -> None:
    stages = [open_stage(stage.SerializeToString()) for stage in split_stages(tiny())]
    every = np.stack(outputs(tiny(), X))
    np.testing.assert_allclose(logits_at_exits(stages, X), every, atol=1e-5 * np.ptp(every))
