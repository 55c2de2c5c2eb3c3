import pytest
import torch
import torch.nn.functional as F
import user_models
from torch import Tensor, nn

from tinyml.graph.capture import capture
from tinyml.graph.fold import fold, foldable_pairs
from tinyml.graph.quantization_points import Plan, plan_graph, plan_modules
from tinyml.layers.channel_scale import scale_channels
from tinyml.models import create_model

IMAGE = torch.zeros(1, 4, 8, 8)


class Net(nn.Module):
    """Layers of every kind, wired by a function of the module and x."""

    def __init__(self, wiring) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.wide = nn.Conv2d(8, 4, 1)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.relu, self.relu6, self.drop, self.pool = nn.ReLU(), nn.ReLU6(), nn.Dropout(), nn.AdaptiveAvgPool2d(1)
        self.norm = nn.BatchNorm2d(4)
        self.linear, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        self.constant = nn.Parameter(torch.ones(4, 1, 1))
        self.weight = nn.Parameter(torch.ones(4, 4, 1, 1))
        self.wiring = wiring

    def forward(self, x: Tensor) -> Tensor:
        return self.wiring(self, x)


def plan(wiring, *, excluded: frozenset[str] = frozenset()) -> Plan:
    graph_module = capture(Net(wiring)).graph_module
    assert graph_module is not None
    return plan_graph(graph_module, IMAGE, excluded)


def grids(wiring, **options) -> set[tuple[str, ...]]:
    return set(plan(wiring, **options).activations)


def classify(m: Net, x: Tensor) -> Tensor:
    return m.head(m.pool(m.relu(m.a(x))).flatten(1))


WIRINGS = {
    "a layer's input and a convolution's output": (lambda m, x: m.a(x), {("x",), ("a",)}),
    "behind the ReLU, not before it": (lambda m, x: m.relu(m.a(x)), {("x",), ("relu",)}),
    "behind a functional ReLU6": (lambda m, x: F.relu6(m.a(x)), {("x",), ("relu6",)}),
    "before a ReLU whose input is used elsewhere": (
        lambda m, x: torch.sin(m.relu(y := m.a(x)) + torch.sin(y)),
        {("x",), ("a",)},
    ),
    "both operands and the result of a residual add": (
        lambda m, x: m.relu(m.b(m.relu(m.a(x))) + x),
        {("x",), ("relu",), ("b",), ("relu_1",)},
    ),
    "two branches that meet": (lambda m, x: m.a(x) + m.b(x), {("x",), ("a",), ("b",), ("add",)}),
    "an add in place": (lambda m, x: m.a(x).add_(m.b(x)), {("x",), ("a",), ("b",), ("add_",)}),
    "parts and result of a concatenation": (
        lambda m, x: m.wide(torch.cat([m.relu(m.a(x)), x], dim=1)),
        {("x",), ("relu",), ("cat",), ("wide",)},
    ),
    "a gate and what it multiplies": (
        lambda m, x: m.b((y := m.relu(m.a(x))) * F.hardsigmoid(m.pool(y))),
        {("x",), ("relu",), ("pool",), ("hardsigmoid",), ("mul",), ("b",)},
    ),
    "an average pool": (classify, {("x",), ("relu",), ("pool", "flatten")}),
    "a max pool and a reshape share their input's grid": (
        lambda m, x: m.b(F.max_pool2d(m.relu(m.a(x)), 2).view(1, 4, 4, 4)),
        {("x",), ("relu", "max_pool2d", "view"), ("b",)},
    ),
    "a slice and zero padding share their input's grid": (
        lambda m, x: (
            m.b(F.pad((y := m.relu(m.a(x)))[:, :, ::2, ::2], (1, 1, 1, 1)))
            + m.c(F.pad(y[:, :, ::2, ::2], (1, 1, 1, 1)))
        ),
        {("x",), ("relu", "getitem", "pad", "getitem_1", "pad_1"), ("b",), ("c",), ("add",)},
    ),
    "padding with ones has a grid of its own": (
        lambda m, x: m.b(F.pad(m.relu(m.a(x)), (1, 1, 1, 1), value=1.0)),
        {("x",), ("relu",), ("pad",), ("b",)},
    ),
    "the parts of a split share the grid of the whole": (
        lambda m, x: m.wide(torch.cat([(parts := m.a(x).chunk(2, 1))[1], parts[0], x], dim=1)),
        {("x",), ("a", "getitem", "getitem_1"), ("cat",), ("wide",)},
    ),
    "a dropout passes on what stands before it": (
        lambda m, x: m.b(m.drop(m.relu(m.a(x)))),
        {("x",), ("relu",), ("b",)},
    ),
    "a constant operand leaves an add in float": (lambda m, x: m.a(x) + m.constant, {("x",), ("a",)}),
    "a number leaves an add in float": (lambda m, x: m.a(x) + 1.0, {("x",), ("a",)}),
    "a float operand leaves an add in float": (lambda m, x: m.a(x) + torch.sin(x), {("x",), ("a",)}),
}


@pytest.mark.parametrize(("wiring", "expected"), WIRINGS.values(), ids=WIRINGS)
def test_a_grid_is_put(wiring, expected: set[tuple[str, ...]]):
    assert grids(wiring) == expected


def test_the_shortcut_that_slices_and_pads_stays_on_the_grid_of_the_block_before_it():
    graph_module = capture(create_model("resnet20-cifar")).graph_module
    assert graph_module is not None
    fold(graph_module, foldable_pairs(graph_module), scale_behind=scale_channels)
    groups = plan_graph(graph_module, torch.zeros(1, 3, 32, 32), frozenset()).activations
    padded = [group for group in groups if any("pad" in name for name in group)]
    assert len(padded) == 2  # one at the entrance of each later stage
    assert all("relu2" in group[0] and len(group) == 3 for group in padded)
    assert not any(
        name.startswith("add") for group in groups for name in group
    )  # the ReLU behind each add has the grid


def test_the_logits_are_given_in_float():
    assert not any("head" in group for group in grids(classify))
    assert plan(classify).weights == ("a", "head")


def test_a_linear_layer_that_feeds_an_integer_layer_is_put_on_a_grid_by_its_reader():
    def perceptron(m: Net, x: Tensor) -> Tensor:
        return m.head(m.relu(m.linear(x.mean(dim=(2, 3)))))

    assert grids(perceptron) == {("mean",), ("relu",)}


def test_the_residual_stream_of_a_transformer_stays_in_float():
    graph_module = capture(user_models.small_vit()).graph_module
    assert graph_module is not None
    planned = plan_graph(graph_module, torch.zeros(1, 3, 32, 32), frozenset())
    assert not any(name.startswith("add") for group in planned.activations for name in group)
    assert "blocks.0.attention.queries_keys_values" in planned.weights


def test_an_excluded_layer_has_neither_grid_nor_integer_weight():
    planned = plan(lambda m, x: torch.sin(m.b(torch.sin(m.a(x)))), excluded=frozenset({"b"}))
    assert planned.weights == ("a",)
    assert set(planned.activations) == {("x",), ("a",)}


def test_a_module_called_twice_is_one_weight_and_two_outputs():
    planned = plan(lambda m, x: torch.sin(m.a(m.a(x))))
    assert planned.weights == ("a",)
    assert set(planned.activations) == {("x",), ("a",), ("a_1",)}


@pytest.mark.parametrize(
    ("wiring", "module", "reason"),
    [
        (lambda m, x: m.up(x), "up", "ConvTranspose2d"),
        (lambda m, x: F.conv2d(x, m.weight), "conv2d", "functional"),
        (lambda m, x: x @ x, "matmul", "functional"),
        (lambda m, x: x.matmul(x), "matmul", "functional"),
        (lambda m, x: F.linear(x.mean((2, 3)), m.weight[:, :, 0, 0]), "linear", "functional"),
        (lambda m, x: m.norm(x), "norm", "BatchNorm2d stays in float"),
        (lambda m, x: F.gelu(x), "gelu", "gelu stays in float"),
        (lambda m, x: x.softmax(1), "softmax", "softmax stays in float"),
        (lambda m, x: F.prelu(x, m.weight[0, 0, 0]), "prelu", "prelu stays in float"),
    ],
    ids=[
        "transposed convolution",
        "functional convolution",
        "operator @",
        "method matmul",
        "functional linear",
        "a norm that does not fold",
        "functional GELU",
        "method softmax",
        "functional PReLU",
    ],
)
def test_what_has_no_integer_form_is_listed_with_its_reason(wiring, module: str, reason: str):
    (left,) = plan(wiring).left_alone
    assert left.module == module
    assert reason in left.reason


def test_a_recurrent_layer_is_listed():
    graph_module = capture(nn.Sequential(nn.GRU(8, 4, batch_first=True))).graph_module
    assert graph_module is not None
    (left,) = plan_graph(graph_module, torch.zeros(1, 5, 8), frozenset()).left_alone
    assert (left.module, left.reason) == ("0", "onnxruntime has no integer kernel for GRU")


def test_layers_inside_an_opaque_module_are_treated_one_by_one():
    model = user_models.data_dependent()
    planned = plan_modules(model, torch.zeros(1, 3, 32, 32), frozenset({"body.conv2"}), within="body")
    assert planned.standalone == ("body.conv1",)


def test_a_layer_that_a_fused_kernel_bypasses_is_listed():
    planned = plan_modules(user_models.encoder(), torch.zeros(1, 3, 32, 32), frozenset(), within="encoder")
    assert set(planned.standalone) == {"encoder.linear1", "encoder.linear2"}
    assert ("encoder.self_attn.out_proj", "its forward is never called") in [
        (item.module, item.reason) for item in planned.left_alone
    ]


@pytest.mark.parametrize("name", ["relu", "relu6"])
def test_a_rectifier_that_a_quantizer_takes_in_is_not_listed(name: str):
    assert plan(lambda m, x: getattr(m, name)(m.a(x))).left_alone == ()
