"""Where features are read, in networks that nobody here ships."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import user_models
from exit_networks import with_exits
from random_task import trained
from torch import Tensor, nn

from tinyml.analysis.difficulty.places import OUTPUT, GraphReader, HookReader, reader_of
from tinyml.errors import TinymlError

SHAPE = (3, 32, 32)
FACTORIES = [
    user_models.mixed,
    user_models.densenet_like,
    user_models.mobilenetv3_like,
    user_models.inception_like,
    user_models.small_vit,
    user_models.data_dependent,
    user_models.encoder,
    user_models.mlp,
]


class Residual(nn.Module):
    """Two layers around a shortcut, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.classifier = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.inner(x), inplace=True)
        return self.classifier(x.mean(dim=(2, 3)))


class Undecided(Residual):
    """The same; its forward depends on the data, and one layer is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > -1e9 else -x)


def inputs(images: int = 5) -> Tensor:
    return torch.randn(images, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_a_layers_features_lie_behind_its_norm_activation_and_shortcut() -> None:
    model = trained(Residual())
    x = inputs()
    stem = F.relu(model.norm(model.stem(x)))
    reader = reader_of(model, SHAPE)
    assert [place.name for place in reader.places] == ["stem", "inner", OUTPUT]
    found = reader.read(x, ["stem", "inner"]).features
    torch.testing.assert_close(found["stem"], stem.mean(dim=(2, 3)))
    torch.testing.assert_close(found["inner"], F.relu(stem + model.inner(stem)).mean(dim=(2, 3)))


def test_a_network_that_cannot_be_traced_is_read_at_its_layers() -> None:
    model, x = trained(Undecided()), inputs()
    reader = reader_of(model, SHAPE)
    assert isinstance(reader, HookReader)
    assert [place.name for place in reader.places] == ["stem", "inner", OUTPUT]
    assert [(item.module, item.reason) for item in reader.left_alone] == [("idle", "the network does not call it")]
    torch.testing.assert_close(reader.read(x, ["stem"]).features["stem"], model.stem(x).mean(dim=(2, 3)))


def test_a_layer_that_only_some_inputs_meet_has_no_features() -> None:
    class Skipping(Residual):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() <= 0 else self.classifier(self.stem(x).mean(dim=(2, 3)))

    reader = reader_of(trained(Skipping()), SHAPE)  # tried with zeros
    assert [place.name for place in reader.places] == ["stem", "inner", OUTPUT]
    with pytest.raises(TinymlError, match="calls 'inner' for some inputs and not for others"):
        reader.read(torch.ones(5, *SHAPE), ["stem", "inner"])
    assert list(reader.read(torch.ones(5, *SHAPE), ["stem"]).features) == ["stem"]


def test_layers_that_meet_share_a_place_that_knows_them_all() -> None:
    class Projected(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.shortcut = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.norm(self.stem(x)))
            return self.classifier(F.relu(self.inner(x) + self.shortcut(x)).mean(dim=(2, 3)))

    places = reader_of(trained(Projected()), SHAPE).places
    assert [(place.name, place.layers) for place in places] == [
        ("stem", ("stem",)),
        ("shortcut", ("inner", "shortcut")),
        (OUTPUT, ("classifier",)),
    ]


def test_regions_are_means_of_quarters() -> None:
    model, x = trained(Residual()), inputs()
    stem = F.relu(model.norm(model.stem(x)))  # 30 x 30
    (place, *_) = reader_of(model, SHAPE, side=2).places
    found = reader_of(model, SHAPE, side=2).read(x, ["stem"]).features["stem"]
    assert place.features == 4 * 4
    torch.testing.assert_close(found[:, 1], stem[:, 0, :15, 15:].mean(dim=(1, 2)))


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_every_place_gives_what_it_promises_and_the_answer_is_the_networks(
    factory: Callable[[], nn.Module], side: int
) -> None:
    model, x = trained(factory()), inputs()
    state = copy.deepcopy(model.state_dict())
    reader = reader_of(model, SHAPE, side=side)
    read = reader.read(x, [place.name for place in reader.places])
    assert {name: values.shape for name, values in read.features.items()} == {
        place.name: (len(x), place.features) for place in reader.places
    }
    torch.testing.assert_close(read.outputs, model(x))
    torch.testing.assert_close(read.features[OUTPUT], read.outputs, rtol=0, atol=0)
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_a_layer_that_is_called_twice_is_two_places() -> None:
    reader = reader_of(user_models.mixed(), SHAPE)
    assert isinstance(reader, GraphReader)
    assert [place.name for place in reader.places if "twice" in place.name] == ["twice", "twice (call 2)"]
    orders = [place.order for place in reader.places]
    assert orders == sorted(set(orders))


def test_the_heads_of_exits_are_no_layers_of_the_network() -> None:
    model, x = trained(user_models.densenet_like()), inputs()
    plain = reader_of(model, SHAPE)
    exits = reader_of(with_exits(model, SHAPE), SHAPE)
    assert [place.name for place in exits.places] == [place.name for place in plain.places]
    names = [place.name for place in plain.places]
    first, second = plain.read(x, names).features, exits.read(x, names).features
    assert all(torch.equal(first[name], second[name]) for name in names)


def test_a_layer_without_a_row_for_each_example_is_left_alone() -> None:
    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prototypes = nn.Embedding(10, 8)
            self.layer = nn.Linear(3 * 32 * 32, 8)
            self.register_buffer("numbers", torch.arange(10))

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x.flatten(1))
            return x @ self.prototypes(self.numbers).T - x.square().sum(dim=1, keepdim=True)

    reader = reader_of(Prototypes(), SHAPE)
    assert [place.name for place in reader.places] == ["layer", OUTPUT]
    assert [item.module for item in reader.left_alone] == ["prototypes"]
