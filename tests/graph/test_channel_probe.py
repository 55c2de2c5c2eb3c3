import channel_models as made
import torch
import user_models
from torch import Tensor, nn

from tinyml.graph.channel_dependencies import Place
from tinyml.graph.channel_probe import probed_index


def probed(model: nn.Module, shape: tuple[int, ...], *places: tuple[str, str]) -> list[list[list[int]]]:
    torch.manual_seed(0)
    wanted = tuple(Place(name=name, side=side) for name, side in places)
    index = probed_index(model.eval(), wanted, torch.randn(1, *shape))
    return [index[place].tolist() for place in wanted] if index else []


def test_a_flattened_channel_arrives_at_all_its_places():
    producer, consumer = probed(made.flattened_signal(), (3, 12), ("a", "output"), ("head", "input"))
    assert producer == [[0], [1], [2], [3], [4], [5]]
    assert consumer == [list(range(10 * channel, 10 * channel + 10)) for channel in range(6)]


def test_a_head_of_attention_belongs_together():
    sides = [(name, "output") for name in ("queries", "keys", "values")]
    *producers, consumer = probed(made.heads(), made.IMAGE, *sides, ("project", "input"))
    eights = [list(range(8 * head, 8 * head + 8)) for head in range(4)]
    assert sorted(consumer) == eights
    assert all(producer == consumer for producer in producers)


def test_a_shuffle_takes_a_share_of_every_kind_of_channel():
    """The 24 channels of the stem: 6 kept by both units, 6 by the first alone, 12 that a branch reads; so 6 channels of 4."""
    names = ("0.0", "1.branch.5", "2.branch.5")
    consumers = [("1.branch.0", "input"), ("2.branch.0", "input"), ("5", "input")]
    stem, *_ = probed(user_models.shufflenet_like(), (3, 32, 32), *((name, "output") for name in names), *consumers)
    kinds: list[Tensor] = [torch.arange(6), torch.arange(6, 12), torch.arange(12, 24)]
    assert [[sum(p in kind for p in row) for kind in kinds] for row in stem] == [[1, 1, 2]] * 6


class ByKeyword(nn.Module):
    """A pair of layers and a norm between them, called with `input=`."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.head = nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(input=self.norm(input=self.a(input=x)))


def test_layers_that_are_called_by_keyword_are_watched_too():
    sides = (("a", "output"), ("norm", "output"), ("head", "input"))
    assert probed(ByKeyword(), (3,), *sides) == [[[0], [1], [2], [3]]] * 3


def test_bare_parameters_cannot_be_watched():
    model = made.learned_factor()
    places = (Place(name="a", side="output"), Place(name="factor", side="parameter"))
    assert probed_index(model, places, torch.zeros(1, *made.IMAGE)) == {}


def test_the_model_runs_as_before_afterwards():
    model, x = made.flattened_signal().eval(), torch.randn(2, 3, 12)
    before = model(x)
    probed(model, (3, 12), ("a", "output"), ("head", "input"))
    assert torch.equal(model(x), before)
    assert not any(module._forward_pre_hooks or "forward" in module.__dict__ for module in model.modules())
