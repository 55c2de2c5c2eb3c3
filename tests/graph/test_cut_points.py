import pytest
import torch
import torch.nn.functional as F
import user_models
from torch import Tensor, fx, nn

from tinyml.graph.capture import capture, propagate_shapes
from tinyml.graph.cut_points import CutPoint, evenly_spread, find_cut_points
from tinyml.models import create_model

IMAGE = (3, 32, 32)
TRACED = [
    "mixed", "mlp", "densenet_like", "mobilenetv3_like", "shufflenet_like", "unet_like", "small_vit", "inception_like",
]  # fmt: skip


def graph_of(module: nn.Module) -> fx.GraphModule:
    found = capture(module).graph_module
    assert found is not None
    return found


def cuts_of(module: nn.Module, shape: tuple[int, ...] = IMAGE) -> tuple[CutPoint, ...]:
    return find_cut_points(graph_of(module), shape)


def names_of(module: nn.Module, shape: tuple[int, ...] = IMAGE) -> list[str]:
    return [cut.name for cut in cuts_of(module, shape)]


def goes_round(graph_module: fx.GraphModule, node: str) -> bool:
    """Whether data reach the output when the node is taken away."""
    reached = set()
    for each in graph_module.graph.nodes:
        tensor = each.op == "output" or "tensor_meta" in each.meta
        fed = each.op == "placeholder" or any(source in reached for source in each.all_input_nodes)
        if fed and tensor and each.name != node:
            reached.add(each)
    return graph_module.graph.output_node() in reached


@pytest.mark.parametrize("factory", TRACED)
def test_nothing_goes_round_a_cut(factory):
    graph_module = graph_of(getattr(user_models, factory)())
    cuts = find_cut_points(graph_module, IMAGE)
    assert cuts
    assert not [cut.name for cut in cuts if goes_round(graph_module, cut.node)]


@pytest.mark.parametrize("factory", TRACED)
def test_every_weighted_layer_that_nothing_goes_round_ends_in_a_cut_but_the_last_two(factory):
    graph_module = graph_of(getattr(user_models, factory)())
    propagate_shapes(graph_module, torch.zeros(2, *IMAGE))
    kinds = (nn.Conv2d, nn.Linear)
    layers = [
        n for n in graph_module.graph.nodes if n.op == "call_module" and isinstance(_module(graph_module, n), kinds)
    ]
    alone = [node.name for node in layers[:-2] if not goes_round(graph_module, node.name)]
    assert len(find_cut_points(graph_module, IMAGE)) >= len(alone)


def _module(graph_module: fx.GraphModule, node: fx.Node) -> nn.Module:
    return graph_module.get_submodule(str(node.target))


def test_a_resnet_is_cut_behind_its_stem_and_every_block_but_the_last():
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]
    expected = ["relu", *("layer1" if n == "layer1.2" else "layer2" if n == "layer2.2" else n for n in blocks[:-1])]
    assert names_of(create_model("resnet20-cifar")) == expected


def test_macs_so_far_are_those_of_the_labs_resnet18():
    """Stages of 64 to 512 channels: a stem of 1,769,472, then 150,994,944, 134,217,728 and 134,217,728."""
    macs = {cut.name: cut.macs for cut in cuts_of(create_model("resnet18-cifar", {"classes": 6}))}
    assert [macs[name] for name in ("layer1", "layer2", "layer3")] == [152_764_416, 286_982_144, 421_199_872]


def test_shares_are_of_all_macs():
    first = cuts_of(user_models.mlp())[0]
    assert first.share == pytest.approx(3072 * 64 / (3072 * 64 + 64 * 48 + 48 * 10))


def test_a_cut_is_behind_batchnorm_relu_and_pooling_and_answers_to_all_their_names():
    cut = cuts_of(user_models.inception_like())[0]
    assert (cut.node, cut.shape) == ("stem_3", (16, 16, 16))
    assert cut.names[:5] == ("stem", "stem.3", "stem.2", "stem.1", "stem.0")


def test_a_cut_is_in_front_of_a_flattening():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 8), nn.ReLU(), nn.Linear(8, 2))
    assert [cut.shape for cut in cuts_of(model)] == [(4, 30, 30)]


def test_tokens_are_cut_behind_every_half_block_with_their_channels_last():
    cuts = cuts_of(user_models.small_vit())
    assert [(cut.name, cut.shape, cut.channels_last) for cut in cuts] == [
        ("patches", (32, 4, 4), False),
        ("add_1", (16, 32), True),
        ("blocks.0", (16, 32), True),
        ("add_3", (16, 32), True),
    ]


def test_signals_are_cut():
    assert [cut.shape for cut in cuts_of(user_models.signal(), (1, 128))] == [(16, 32)]


def test_a_dense_block_is_cut_behind_every_layer():
    assert names_of(user_models.densenet_like())[1:4] == ["block1.0", "block1.1", "block1"]


class TwoRoads(nn.Module):
    """Two branches from the input to the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], dim=1))


class SizeFromTheStart(nn.Module):
    """The size of the batch is read at the beginning and used at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.head(x.mean(dim=(2, 3)).view(n, 4))


class WrittenOver(nn.Module):
    """What the first layer gives is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(F.relu(self.first(x), inplace=True)))


class BatchSecond(nn.Module):
    """Between the layers the positions come first: (L, N, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(self.first(x.transpose(0, 1))).mean(dim=0))


class ChannelsLast(nn.Module):
    """Images (N, H, W, C) behind the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 16, 4, stride=4), nn.LayerNorm(16)
        self.mix, self.head = nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        return self.head((x + self.mix(self.norm(x))).mean(dim=(1, 2)))


def test_images_with_channels_last_are_cut_and_known():
    assert [(cut.shape, cut.channels_last) for cut in cuts_of(ChannelsLast())] == [((8, 8, 16), True)]


def test_a_value_whose_first_dimension_is_not_the_batch_is_no_cut():
    assert cuts_of(BatchSecond(), (5, 8)) == ()


def test_a_network_of_two_roads_has_no_cut():
    assert cuts_of(TwoRoads(), (8,)) == ()


def test_a_size_is_no_road():
    assert names_of(SizeFromTheStart()) == ["conv1"]


def test_a_value_that_is_written_over_is_read_afterwards_and_keeps_its_name():
    assert [(cut.node, cut.names) for cut in cuts_of(WrittenOver(), (8,))] == [("relu", ("first", "relu"))]


def test_a_value_that_is_written_over_and_never_read_again_is_no_cut():
    graph_module = graph_of(WrittenOver())
    nodes = {node.name: node for node in graph_module.graph.nodes}
    nodes["second"].args = (nodes["first"],)
    assert find_cut_points(graph_module, (8,)) == ()


@pytest.mark.parametrize("view", [nn.Flatten(), nn.Unflatten(1, (2, 2))], ids=["flattened", "unflattened"])
def test_a_value_that_is_written_over_by_way_of_a_view_is_no_cut(view):
    layers = [nn.Conv2d(3, 4, 3, padding=1), view, nn.ReLU(inplace=True), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 2))
    (cut,) = cuts_of(model, (3, 8, 8))
    assert cut.node != "_0"


def test_a_dropout_in_place_writes_in_training_alone_and_spoils_the_cut_all_the_same():
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(inplace=True), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    assert [cut.node for cut in cuts_of(model, (8,))] == ["_1"]


def test_a_network_in_one_piece_has_no_cut_inside_it():
    assert cuts_of(user_models.data_dependent()) == ()


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(1, ["c"], id="half of the MACs"),
        pytest.param(2, ["b", "c"], id="thirds"),
        pytest.param(4, ["a", "b", "c", "d"], id="all there are"),
    ],
)
def test_exits_are_spread_evenly_over_the_macs(count, expected):
    cuts = [
        CutPoint(node=name, names=(name,), shape=(1,), channels_last=False, macs=macs, network_macs=100)
        for name, macs in [("a", 5), ("b", 30), ("c", 55), ("d", 95)]
    ]
    assert [cut.name for cut in evenly_spread(cuts, count)] == expected
