import pytest
import torch

from tinyml.graph.network_outputs import final_output, outputs_of

ONE, TWO = torch.zeros(1), torch.ones(1)


def test_a_tensor_is_the_only_output():
    assert outputs_of(ONE) == (ONE,)


def test_a_tuple_is_one_output_for_each_exit_and_the_last_the_networks_own():
    assert outputs_of((ONE, TWO)) == (ONE, TWO)
    assert final_output((ONE, TWO)) is TWO


@pytest.mark.parametrize("given", [{"logits": ONE}, [ONE, TWO], (ONE,), (), (ONE, None), None], ids=repr)
def test_anything_else_is_refused(given):
    with pytest.raises(TypeError, match=f"it returns a {type(given).__name__}, not one tensor"):
        outputs_of(given)
