"""Random data and the context of a pass, for tests that need images but no meaning."""

import numpy as np
import torch
from torch import nn

from tinyml.architecture import Architecture
from tinyml.data import Split, Task
from tinyml.passes.base import Compressed, Context
from tinyml.passes.linear_quantization import Calibration, LinearQuantization
from tinyml.progress import Silent
from tinyml.target import load_target

IMAGES = 64


def random_task(shape: tuple[int, ...], *, pixels: bool = False, images: int = IMAGES) -> Task:
    """Noise of the shape (C, H, W) or any other; `pixels` makes it uint8 (N, H, W, C) with a normalisation."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((images, *shape)).astype(np.float32)
    if pixels:
        x = generator.integers(0, 256, (images, *shape[1:], shape[0]), dtype=np.uint8)
    return Task(
        name="noise",
        kind="classification",
        input_shape=shape,
        classes=tuple("abcdefghij"),
        train=Split(x=x, y=np.arange(images) % 10, source="noise"),
        mean=(0.5,) * shape[0] if pixels else (),
        std=(0.25,) * shape[0] if pixels else (),
    )


def random_context(shape: tuple[int, ...], *, target: str = "x86-avx2", task: Task | None = None) -> Context:
    """What a pass is handed, on the CPU with seed 0."""
    return Context(
        task=task or random_task(shape),
        target=load_target(target),
        teacher=nn.Identity(),
        seed=0,
        device="cpu",
        progress=Silent(),
    )


def trained(model: nn.Module) -> nn.Module:
    """The model as after training, in eval mode: its norms have statistics, factors and offsets of their own."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2, generator=generator)
                nn.init.normal_(module.bias, 0, 0.5, generator=generator)
    return model.eval()


def uncompressed(model: nn.Module, shape: tuple[int, ...], *, factory: str = "user_models:mixed") -> Compressed:
    """The start of a chain of passes."""
    return Compressed(module=model.eval(), architecture=Architecture(model=factory, input_shape=shape))


def quantized(
    model: nn.Module,
    shape: tuple[int, ...],
    *,
    factory: str = "user_models:mixed",
    target: str = "x86-avx2",
    weight_range: str = "target",
    exclude: tuple[str, ...] = (),
) -> Compressed:
    """The model after linear_quantization, calibrated with minmax on noise."""
    step = LinearQuantization(
        calibration=Calibration(method="minmax", images=IMAGES), weight_range=weight_range, exclude=exclude
    )
    before, context = uncompressed(model, shape, factory=factory), random_context(shape, target=target)
    step.requires(before, context)
    after = step.apply(before, context)
    step.ensures(before, after)
    return after
