import pytest
import torch
import torch.nn.functional as F

from tinyml.graph.channel_masking import AttentionWidths, RemainingChannels

STAY = torch.tensor([0, 2, 3, 5])
X = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(0))
SCALE, OFFSET = torch.rand(6), torch.rand(6)


def test_a_layer_norm_sees_the_remaining_features_only():
    x = X.movedim(1, -1)
    with RemainingChannels([(SCALE, STAY)], []):
        seen = F.layer_norm(x, (6,), SCALE, OFFSET)
    assert torch.equal(seen[..., STAY], F.layer_norm(x[..., STAY], (4,), SCALE[STAY], OFFSET[STAY]))
    assert seen[..., [1, 4]].count_nonzero() == 0


def test_a_group_norm_sees_the_remaining_channels_only():
    with RemainingChannels([(SCALE, STAY)], []):
        seen = F.group_norm(X, 2, SCALE, OFFSET)
    assert torch.equal(seen[:, STAY], F.group_norm(X[:, STAY], 2, SCALE[STAY], OFFSET[STAY]))


def test_a_norm_with_another_scale_sees_everything():
    with RemainingChannels([(SCALE, STAY)], []):
        seen = F.group_norm(X, 2, OFFSET, SCALE)
    assert torch.equal(seen, F.group_norm(X, 2, OFFSET, SCALE))


@pytest.mark.parametrize(("scale", "expected"), [(None, 4**-0.5), (0.3, 0.3)], ids=["the default", "its own"])
def test_attention_takes_its_default_scale_from_what_remains(scale: float | None, expected: float):
    queries, keys, values = torch.randn(3, 1, 2, 5, 6).unbind()
    with AttentionWidths() as widths:
        F.scaled_dot_product_attention(queries[..., :4], keys[..., :4], values)
    with RemainingChannels([], widths.seen):
        seen = F.scaled_dot_product_attention(queries, keys, values, scale=scale)
    assert torch.equal(seen, F.scaled_dot_product_attention(queries, keys, values, scale=expected))
