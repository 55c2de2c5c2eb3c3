"""Networks with exits, for tests."""

import torch
from torch import fx, nn

from tinyml.graph.capture import capture
from tinyml.graph.cut_points import find_cut_points
from tinyml.layers.exit_heads import ExitSpec, Head, attach_exits


def with_exits(
    model: nn.Module,
    shape: tuple[int, ...],
    *,
    head: Head = "pooled",
    classes: int = 10,
    hidden: int = 8,
    seed: int = 0,
) -> fx.GraphModule:
    """The captured model with an exit at every place; heads have weights by the seed."""
    found = capture(model).graph_module
    assert found is not None
    specs = tuple(
        ExitSpec(
            node=cut.node, name=cut.name, head=head, shape=cut.shape, channels_last=cut.channels_last,
            hidden=hidden, classes=classes,
        )
        for cut in find_cut_points(found, shape)
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        attach_exits(found, specs)
    return found
