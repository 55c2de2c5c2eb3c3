"""Lays the profiles of two files side by side, layer by layer."""

from collections.abc import Iterable, Mapping

from tinyml.analysis.onnx_weights import LayerWeights
from tinyml.measure.profile import Layer, Profile
from tinyml.report.report import LayerCost, LayerRow

_REST = "all other operators"


def layer_rows(
    before: Profile,
    after: Profile,
    before_weights: Mapping[str, LayerWeights],
    after_weights: Mapping[str, LayerWeights],
) -> tuple[LayerRow, ...]:
    """Return a row for each layer that has weights, and a last one for the rest: adds, pooling, changes of layout.

    Layers are matched by the names of their weights: nodes change theirs when a graph is quantized. The costs of a
    layer that is called twice are added up.

    Args:
        before: profile of the baseline.
        after: profile of the file that ships.
        before_weights: the baseline's weights by layer.
        after_weights: the shipped file's weights by layer.
    """
    names = [*before_weights, *(name for name in after_weights if name not in before_weights)]
    rows = [_row(name, before, after, before_weights.get(name), after_weights.get(name)) for name in names]
    rest = LayerRow(name=_REST, kind="", before=_rest(before, before_weights), after=_rest(after, after_weights))
    return (*rows, rest)


def _row(name: str, before: Profile, after: Profile, old: LayerWeights | None, new: LayerWeights | None) -> LayerRow:
    """Return the row of one layer; a side without it costs an unknown amount."""
    layers = _of(after, new) or _of(before, old)
    kept = new or old
    return LayerRow(
        name=name,
        kind=kept.operator if kept else "",
        shape=layers[0].output_shape[1:] if layers else (),
        before=_cost(_of(before, old), old.form) if old else LayerCost(),
        after=_cost(_of(after, new), new.form) if new else LayerCost(),
    )


def _of(profile: Profile, weights: LayerWeights | None) -> list[Layer]:
    """Return the profiled nodes of one layer."""
    nodes = weights.nodes if weights else ()
    return [layer for layer in profile.layers if layer.name in nodes]


def _rest(profile: Profile, weights: Mapping[str, LayerWeights]) -> LayerCost:
    """Return the cost of the nodes that belong to no layer with weights, and of what the runtime added."""
    taken = {node for layer in weights.values() for node in layer.nodes}
    added_ms = sum(entry.median_ms for entry in profile.unattributed)
    return _cost((layer for layer in profile.layers if layer.name not in taken), "", added_ms)


def _cost(layers: Iterable[Layer], stored: str, added_ms: float = 0.0) -> LayerCost:
    """Return the sum of the layers' costs."""
    found = list(layers)
    return LayerCost(
        parameters=sum(layer.parameters for layer in found),
        macs=sum(layer.macs for layer in found),
        activation_bytes=sum(layer.activation_bytes for layer in found),
        latency_ms=sum(layer.latency_ms for layer in found) + added_ms,
        stored=stored,
    )
