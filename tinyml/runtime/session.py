"""The one door to onnxruntime: open a network, run it, ask where its nodes were placed.

Settings that every session shares, so that two files are always measured alike:

- `threads` is the number of threads inside an operator; operators run one after another (inter-op threads: 1);
- onnxruntime's threads spin while a run lasts (its default) and are told to stop when the run returns
  (`session.force_spinning_stop`): the idle threads of one session would otherwise slow another that is timed beside it;
- nothing is logged to the terminal: what goes wrong is raised, and placement is checked by `Session.placement`.
"""

import io
import logging
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import onnxruntime
from numpy.typing import DTypeLike, NDArray

from tinyml.errors import CheckpointError, TargetError, did_you_mean
from tinyml.runtime.refusal import load_refused, run_refused

logger = logging.getLogger(__name__)

CPU: Final = "CPUExecutionProvider"
_FALLBACKS: Final = {
    "CPUExecutionProvider": (),
    "CUDAExecutionProvider": (CPU,),
    "TensorrtExecutionProvider": ("CUDAExecutionProvider", CPU),
}
_NUMPY_TYPES: Final[dict[str, DTypeLike]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


@final
class Session:
    """A network opened in onnxruntime, with one input.

    Attributes:
        source: the file, or "the model in memory"; for messages.
        input_name: name of the input.
        input_shape: shape of the input; a dimension that is not fixed is its name, or "?" where it has none.
        input_dtype: numpy type of the input.
        outputs: names of the outputs, in order.
        providers: execution providers of the session, the preferred first.
        threads: threads inside an operator.
        metadata: what the file says of itself, by key.
    """

    def __init__(self, inner: Any, *, source: str, threads: int) -> None:
        """Wrap an `onnxruntime.InferenceSession`; use `open_session`."""
        inputs = inner.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(entry.name for entry in inputs) or "none"
            raise CheckpointError(
                f"{source}: the network has {len(inputs)} inputs ({names}); tinyml runs networks with one input."
            )
        if inputs[0].type not in _NUMPY_TYPES:
            raise CheckpointError(f"{source}: input '{inputs[0].name}' has type {inputs[0].type}; allowed: tensors of "
                                  "float, float16, double, uint8, int8, int32, int64 or bool.")  # fmt: skip
        self._inner = inner
        self.source = source
        self.threads = threads
        self.input_name: str = inputs[0].name
        self.input_shape: tuple[int | str, ...] = tuple("?" if size is None else size for size in inputs[0].shape)
        self.input_dtype: np.dtype[Any] = np.dtype(_NUMPY_TYPES[inputs[0].type])
        self.outputs: tuple[str, ...] = tuple(entry.name for entry in inner.get_outputs())
        self.providers: tuple[str, ...] = tuple(inner.get_providers())
        self.metadata: dict[str, str] = dict(inner.get_modelmeta().custom_metadata_map)

    @property
    def batch(self) -> int:
        """The batch size that the file fixes, or 0 where any is allowed."""
        first = self.input_shape[0] if self.input_shape else 0
        return first if isinstance(first, int) else 0

    def run(self, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return each output by name for one batch `x`, of the file's input shape and type.

        Raises:
            CheckpointError: the network refused the input, or failed on it.
        """
        try:
            values = self._inner.run(None, {self.input_name: x})
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception
            given, allowed = f"{x.dtype} {x.shape}", f"{self.input_dtype} {self.input_shape}"
            one_by_one = self.batch == 1 and x.shape[:1] > (1,) and "exit" in self.outputs
            raise run_refused(self.source, given, allowed, error, one_by_one=one_by_one) from error
        return dict(zip(self.outputs, values, strict=True))

    def placement(self) -> dict[str, str]:
        """Return the provider of each node, by node name, as assigned before nodes are fused.

        A provider that lacks an operator leaves it to the CPU silently, so ask: a network quantized for the CPU that is
        opened with CUDA runs most of its nodes on the CPU.
        """
        subgraphs = self._inner.get_provider_graph_assignment_info()
        return {node.name: graph.ep_name for graph in subgraphs for node in graph.get_nodes()}

    def end_profile(self) -> Path:
        """Stop the runtime's own profile and return its JSON file; the session was opened with `profile_prefix`."""
        return Path(self._inner.end_profiling())


@final
class StageSession:
    """A stage of a network with exits, opened in onnxruntime: it has as many inputs as tensors cross into it.

    Attributes:
        source: the file, or "the model in memory"; for messages.
        inputs: names of the inputs, in order.
        outputs: names of the outputs, in order.
    """

    def __init__(self, inner: Any, *, source: str) -> None:
        """Wrap an `onnxruntime.InferenceSession`; use `open_stage`."""
        self._inner = inner
        self._takes = ", ".join(f"'{entry.name}' {entry.type} {tuple(entry.shape)}" for entry in inner.get_inputs())
        self.source = source
        self.inputs: tuple[str, ...] = tuple(entry.name for entry in inner.get_inputs())
        self.outputs: tuple[str, ...] = tuple(entry.name for entry in inner.get_outputs())

    def run(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return each output by name; `values` holds the inputs, and may hold more.

        Raises:
            CheckpointError: the stage refused an input, or failed on it.
        """
        fed = {name: values[name] for name in self.inputs}
        try:
            return dict(zip(self.outputs, self._inner.run(None, fed), strict=True))
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception
            given = ", ".join(f"'{name}' {value.dtype} {value.shape}" for name, value in fed.items())
            raise run_refused(self.source, given, self._takes, error) from error


def open_session(
    model: Path | bytes,
    *,
    provider: str = CPU,
    threads: int = 1,
    optimized: bool = True,
    x64_quant_precision: bool = False,
    profile_prefix: Path | None = None,
) -> Session:
    """Return a session on an ONNX file or on the bytes of one.

    Args:
        model: the file, or its bytes (then without external data).
        provider: the execution provider to prefer; what it cannot run falls to the CPU (`Session.placement` tells).
        threads: threads inside an operator, 1 or more.
        optimized: False keeps the graph as written; for finding out what an optimisation does to the numbers.
        x64_quant_precision: compute int8 on x86 without 16-bit saturation, slower (`session.x64quantprecision`).
        profile_prefix: where the runtime writes its own profile: this path plus the time and ".json".

    Raises:
        CheckpointError: the file is missing, empty, damaged or not ONNX, or has more than one input.
        TargetError: the provider is not installed or did not start, or the file is too new for this onnxruntime.
    """
    options = _options(threads=threads, optimized=optimized, x64_quant_precision=x64_quant_precision)
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    return Session(_open(model, provider, options), source=_source(model), threads=threads)


def open_stage(model: Path | bytes, *, provider: str = CPU, threads: int = 1) -> StageSession:
    """Return a session on a stage of a network with exits; arguments and errors are those of `open_session`."""
    options = _options(threads=threads, optimized=True, x64_quant_precision=False)
    return StageSession(_open(model, provider, options), source=_source(model))


def _source(model: Path | bytes) -> str:
    return "the model in memory" if isinstance(model, bytes) else str(model)


def _open(model: Path | bytes, provider: str, options: Any) -> Any:
    """Return the `onnxruntime.InferenceSession`; errors as in `open_session`."""
    source = _source(model)
    require_provider(provider)
    if isinstance(model, Path) and not model.is_file():
        raise CheckpointError(f"{source}: no such file; give an ONNX file or a run directory that holds model.onnx.")
    if provider != CPU:
        _load_cuda_libraries()
    try:
        inner = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=[provider, *_FALLBACKS.get(provider, (CPU,))],
            enable_fallback=0,
        )
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        raise load_refused(source, str(error), runtime_version()) from error
    if provider not in inner.get_providers():
        raise TargetError(
            f"{provider} is installed but did not start (a missing driver, CUDA or cuDNN library?); onnxruntime fell "
            f"back to {', '.join(inner.get_providers())}. `tinyml doctor` lists what this machine has."
        )
    logger.debug("opened %s with %s, %d threads", source, inner.get_providers(), options.intra_op_num_threads)
    return inner


def logits(session: Session, x: NDArray[Any], batch: int = 64) -> NDArray[Any]:
    """Return the network's main output for every row of `x`, shape (N, ...): the output named "output", else the first.

    Args:
        session: the network.
        x: inputs (N, ...) of the type and shape that the file takes.
        batch: rows run at once; a file with a fixed batch overrules it, its last batch is filled up by repetition.

    Raises:
        CheckpointError: the network refused the input, failed on it, or returned another number of rows.
    """
    name = "output" if "output" in session.outputs else session.outputs[0]
    size = session.batch or batch
    parts: list[NDArray[Any]] = []
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        filled = rows if not session.batch or len(rows) == size else np.resize(rows, (size, *x.shape[1:]))
        part = session.run(filled)[name]
        if part.shape[:1] != (len(filled),):
            raise CheckpointError(f"{session.source}: output '{name}' has shape {part.shape} for {len(filled)} inputs.")
        parts.append(part[: len(rows)])
    return np.concatenate(parts) if parts else np.empty((0,), np.float32)


def require_provider(provider: str) -> None:
    """Do nothing where onnxruntime has this execution provider.

    Raises:
        TargetError: it has not; the message says which package brings it.
    """
    available = available_providers()
    if provider in available:
        return
    cures = {
        "CUDAExecutionProvider": " For CUDA: pip uninstall onnxruntime, then pip install onnxruntime-gpu.",
        "TensorrtExecutionProvider": " For TensorRT: pip uninstall onnxruntime, then pip install onnxruntime-gpu "
        "tensorrt.",
    }
    raise TargetError(
        f"This onnxruntime has no {provider}; it has {', '.join(available)}."
        f"{cures.get(provider, did_you_mean(provider, available))}"
    )


def available_providers() -> tuple[str, ...]:
    """Return the execution providers of the installed onnxruntime, the preferred first."""
    return tuple(onnxruntime.get_available_providers())


def runtime_version() -> str:
    """Return the version of the installed onnxruntime."""
    return str(onnxruntime.__version__)


def providers_used(placement: Iterable[str]) -> str:
    """Return "CUDAExecutionProvider 12, CPUExecutionProvider 3" for the providers of nodes, the most used first."""
    names = list(placement)
    counts = sorted(((names.count(name), name) for name in set(names)), key=lambda pair: (-pair[0], pair[1]))
    return ", ".join(f"{name} {count}" for count, name in counts)


def _options(*, threads: int, optimized: bool, x64_quant_precision: bool) -> Any:
    """Return the session options that the module docstring describes."""
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if x64_quant_precision:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _load_cuda_libraries() -> None:
    """Load the CUDA and cuDNN that pip packages brought; onnxruntime alone looks only in the system's folders."""
    said = io.StringIO()
    with redirect_stdout(said):  # it prints what it did not find; the session's providers tell whether that matters
        onnxruntime.preload_dlls()
    logger.debug("onnxruntime.preload_dlls: %s", said.getvalue().strip() or "loaded")
