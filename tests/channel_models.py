"""Small networks whose channels hang together in every way, right and wrong. All take 3x12x12 images unless they say so."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE = (3, 12, 12)


class Stack(nn.Module):
    """Named layers, and a function of them and the input as forward."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.function = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def conv(c_in: int, c_out: int, *, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1, groups=groups)


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def plain() -> nn.Module:
    return Stack(lambda m, x: m.head(pooled(m.b(F.relu(m.a(x))))), a=conv(3, 16), b=conv(16, 16), head=nn.Linear(16, 5))


def hard_coded_slices() -> nn.Module:
    def forward(m: Stack, x: Tensor) -> Tensor:
        y = m.a(x)
        return m.head(pooled(m.b(y[:, :8]) + m.c(y[:, 8:])))

    return Stack(forward, a=conv(3, 16), b=conv(8, 8), c=conv(8, 8), head=nn.Linear(8, 5))


def tied_weights() -> nn.Module:
    model = Stack(
        lambda m, x: m.head(pooled(m.c(F.relu(m.b(F.relu(m.a(x))))))),
        a=conv(3, 16), b=conv(16, 16), c=conv(16, 16), head=nn.Linear(16, 5),
    )  # fmt: skip
    model.get_submodule("c").weight = model.get_submodule("b").weight
    return model


def weight_norm() -> nn.Module:
    model = plain()
    nn.utils.parametrizations.weight_norm(model.get_submodule("b"))
    return model


def called_twice() -> nn.Module:
    return Stack(
        lambda m, x: m.head(pooled(m.b(F.relu(m.b(F.relu(m.a(x))))))),
        a=conv(3, 16),
        b=conv(16, 16),
        head=nn.Linear(16, 5),
    )


def gated() -> nn.Module:
    return Stack(
        lambda m, x: m.head(pooled(m.b(F.glu(m.a(x), dim=1)))), a=conv(3, 16), b=conv(8, 8), head=nn.Linear(8, 5)
    )


def group_norms() -> nn.Module:
    return Stack(
        lambda m, x: m.head(pooled(m.n(m.b(F.relu(m.m(m.a(x))))))),
        a=conv(3, 16), m=nn.GroupNorm(4, 16), b=conv(16, 16), n=nn.GroupNorm(1, 16), head=nn.Linear(16, 5),
    )  # fmt: skip


def grouped() -> nn.Module:
    return Stack(
        lambda m, x: m.head(pooled(m.b(F.relu(m.g(F.relu(m.a(x))))))),
        a=conv(3, 16), g=conv(16, 32, groups=4), b=conv(32, 16), head=nn.Linear(16, 5),
    )  # fmt: skip


def transposed() -> nn.Module:
    return Stack(
        lambda m, x: m.c(F.relu(m.b(F.relu(m.a(x))))),
        a=nn.Conv2d(3, 8, 2, stride=2), b=nn.ConvTranspose2d(8, 12, 2, stride=2, groups=2), c=conv(12, 3),
    )  # fmt: skip


def pixel_shuffle() -> nn.Module:
    return Stack(
        lambda m, x: m.head(pooled(m.b(F.pixel_shuffle(F.relu(m.a(x)), 2)))),
        a=conv(3, 16), b=conv(4, 8), head=nn.Linear(8, 5),
    )  # fmt: skip


def flattened_signal() -> nn.Module:
    """Takes 3x12 signals."""
    return Stack(lambda m, x: m.head(F.relu(m.a(x)).flatten(1)), a=nn.Conv1d(3, 6, 3), head=nn.Linear(60, 5))


def heads() -> nn.Module:
    """Attention with as many heads of 8 features as there are features."""

    def forward(m: Stack, x: Tensor) -> Tensor:
        x = m.embed(tokens(x))
        y = m.norm(x)
        queries, keys, values = (
            layer(y).unflatten(2, (-1, 8)).transpose(1, 2) for layer in (m.queries, m.keys, m.values)
        )
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return m.head((x + m.project(attended.transpose(1, 2).flatten(2))).mean(1))

    square = {name: nn.Linear(32, 32) for name in ("queries", "keys", "values", "project")}
    return Stack(forward, embed=nn.Linear(3, 32), norm=nn.LayerNorm(32), **square, head=nn.Linear(32, 5))


def root_mean_square() -> nn.Module:
    return Stack(
        lambda m, x: m.head(F.silu(m.b(m.norm(m.a(tokens(x))))).mean(1)),
        a=nn.Linear(3, 32), norm=nn.RMSNorm(32), b=nn.Linear(32, 24), head=nn.Linear(24, 5),
    )  # fmt: skip


def one_slope_for_all() -> nn.Module:
    return Stack(
        lambda m, x: m.head(pooled(m.act(m.c(m.act(m.b(m.act(m.a(x)))))))),
        a=conv(3, 16), b=conv(16, 1), c=conv(1, 8), act=nn.PReLU(), head=nn.Linear(8, 5),
    )  # fmt: skip


def shuffled_in_place() -> nn.Module:
    """A channel shuffle in two groups between rectifiers that write over their inputs."""

    def forward(m: Stack, x: Tensor) -> Tensor:
        y = F.relu_(m.a(x))
        y = y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
        return m.head(pooled(F.relu_(m.b(y))))

    return Stack(forward, a=conv(3, 16), b=conv(16, 16), head=nn.Linear(16, 5))


def mean_over_channels() -> nn.Module:
    def forward(m: Stack, x: Tensor) -> Tensor:
        y = F.relu(m.a(x))
        return m.head(pooled(m.b(y + y.mean(1, keepdim=True))))

    return Stack(forward, a=conv(3, 16), b=conv(16, 16), head=nn.Linear(16, 5))


class Scaled(nn.Module):
    """A factor for each channel: learned, or a constant of fixed size."""

    def __init__(self, *, learned: bool) -> None:
        super().__init__()
        self.a, self.b, self.slopes, self.head = conv(3, 16), conv(16, 16), nn.PReLU(16), nn.Linear(16, 5)
        factor = torch.ones(16, 1, 1)
        if learned:
            self.factor: Tensor = nn.Parameter(factor)
        else:
            self.register_buffer("factor", factor)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.b(self.slopes(self.a(x)) * self.factor)))


def learned_factor() -> nn.Module:
    return Scaled(learned=True)


def constant_factor() -> nn.Module:
    return Scaled(learned=False)


def input_beside() -> nn.Module:
    return Stack(
        lambda m, x: m.head(pooled(m.b(torch.cat([x, F.relu(m.a(x))], 1)))),
        a=conv(3, 16), b=conv(19, 16), head=nn.Linear(16, 5),
    )  # fmt: skip


def fixed_view() -> nn.Module:
    return Stack(
        lambda m, x: m.head(pooled(m.b(F.relu(m.a(x)))).view(-1, 16)),
        a=conv(3, 8),
        b=conv(8, 16),
        head=nn.Linear(16, 5),
    )


def without_gradients() -> nn.Module:
    def forward(m: Stack, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = F.relu(m.a(x))
        return m.head(pooled(m.b(y)))

    return Stack(forward, a=conv(3, 16), b=conv(16, 16), head=nn.Linear(16, 5))


def several_outputs() -> nn.Module:
    def forward(m: Stack, x: Tensor) -> Tensor:
        return {"logits": m.head(pooled(m.a(x)))}  # type: ignore[return-value]  # on purpose

    return Stack(forward, a=conv(3, 16), head=nn.Linear(16, 5))
