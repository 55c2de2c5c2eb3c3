"""compress() through the API: refusals before work, failures during it, steps that are not done twice."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import tinyml
from tinyml.data import Split, Task
from tinyml.errors import DataError, GateMissed, Refused, TargetError, TinymlError
from tinyml.manifest import read_manifest
from tinyml.models.lenet_digits import lenet_digits
from tinyml.pipeline import compress as public
from tinyml.pipeline import verify_subject
from tinyml.pipeline.prepare import prepare
from tinyml.target import load_target

MODULE = import_module("tinyml.pipeline.compress")  # the name is also that of its function


def test_the_public_names_are_those_of_the_pipeline() -> None:
    assert tinyml.compress is public
    assert tinyml.verify is verify_subject


def test_it_returns_what_the_sealed_directory_tells(job, tmp_path: Path) -> None:
    outcome = public(job("baseline", task=None), tmp_path / "run")
    assert outcome.path == (tmp_path / "run").resolve()
    assert outcome.verification.passed
    assert outcome.measurements["model"]["macs"].value == 337_536
    assert outcome.left_alone == ()


def test_what_is_left_alone_is_kept_and_inherited_by_the_next_run_of_the_chain(
    job, tmp_path: Path, digits_checkpoint
) -> None:
    excluding = job("int8", 'passes.0.exclude=["conv1"]', checkpoint=digits_checkpoint)
    first = public(excluding, tmp_path / "first")
    second = public(job("baseline", checkpoint=tmp_path / "first", model=""), tmp_path / "second")
    assert [(item.module, item.reason) for item in first.left_alone] == [("conv1", "in the recipe's exclude")]
    assert second.left_alone == first.left_alone
    kept = [(tmp_path / name / "baseline" / "model.onnx").read_bytes() for name in ("first", "second")]
    assert kept[0] == kept[1]
    assert (tmp_path / "second" / "model.onnx").read_bytes() == (tmp_path / "first" / "model.onnx").read_bytes()


def test_the_nonzeros_of_the_file_are_rounded_and_not_those_of_the_baseline(job, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = lenet_digits().state_dict()
    torch.save({name: tensor * (tensor > 0.02) for name, tensor in weights.items()}, tmp_path / "sparse.pt")
    outcome = public(job("baseline", "export.nonzeros=float16", checkpoint=tmp_path / "sparse.pt"), tmp_path / "run")
    assert outcome.verification.passed
    files = (tmp_path / "run" / name for name in ("baseline/model.onnx", "model.onnx"))
    kinds = [{item.data_type for item in onnx.load(file).graph.initializer} for file in files]
    assert [onnx.TensorProto.FLOAT16 in types for types in kinds] == [False, True]
    assert "bit masks" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        pytest.param({"task": None}, DataError, "give --data", id="int8 without data"),
        pytest.param({"target": load_target("cuda")}, TargetError, "Use the recipe fp16", id="int8 for CUDA"),
        pytest.param({"checkpoint": Path("none.pt")}, Refused, "no file", id="no checkpoint"),
    ],
)
def test_a_refusal_writes_nothing(job, tmp_path: Path, changed, error: type[Refused], message: str) -> None:
    with pytest.raises(error, match=message):
        public(job(**changed), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_preparing_asks_without_writing(job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare(job()).compressed.architecture.model == "lenet-digits"
    assert list(tmp_path.iterdir()) == []


class Spoilt(Exception):
    """What a test raises in the middle."""


def test_a_step_that_fails_is_done_again_and_those_before_it_are_not(job, tmp_path: Path, monkeypatch) -> None:
    def spoil(*_: object, **__: object) -> None:
        raise Spoilt

    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "measure", spoil)
        with pytest.raises(Spoilt):
            public(job("baseline", task=None), tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "to_onnx", spoil)  # the export is finished: it is not asked again
        public(job("baseline", task=None), tmp_path / "run", resume=True)
    events = [json.loads(line)["event"] for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert events == ["baseline", "export", "verify", "measure", "report"]


def test_a_refusal_that_comes_too_late_is_a_failure(job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DataError("calibration: the value at 'conv1' is not finite")

    monkeypatch.setattr("tinyml.passes.linear_quantization.calibrate", refuse)
    with pytest.raises(TinymlError, match="is not finite") as caught:
        public(job(), tmp_path / "run")
    assert (type(caught.value), caught.value.exit_code) == (TinymlError, 1)


class Rooted(nn.Module):
    """Reconstructs images as the roots of negative numbers where they are bright."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.same.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(0.5 - self.same(x))


@pytest.mark.parametrize(
    "bright", [pytest.param(slice(None), id="every image"), pytest.param(1, id="one that is not verified")]
)
def test_a_reconstruction_that_is_not_finite_is_sealed_as_failed(job, tmp_path: Path, monkeypatch, bright) -> None:
    monkeypatch.setattr("tinyml.pipeline.root.create_model", lambda *_: Rooted())
    monkeypatch.setattr("tinyml.architecture.create_model", lambda *_: Rooted())
    x = np.zeros((2000, 1, 4, 4), np.float32)
    x[bright] = 1
    test = Split(x=x, y=np.arange(2000) % 2, source="test")
    task = Task(name="images", kind="reconstruction", input_shape=(1, 4, 4), classes=(), test=test)
    outcome = public(job("baseline", task=task), tmp_path / "run")
    failed = [check.name for check in outcome.verification.failed]
    assert failed[-1] == "score"
    assert "auc" not in outcome.measurements["model"]
    with pytest.raises(GateMissed):
        outcome.require_gates()
    assert "NaN among 2000 scores" in (tmp_path / "run" / "history.jsonl").read_text()
    assert [check.name for check in verify_subject(tmp_path / "run").failed][-1] == "score"


def test_the_manifest_has_both_numbers_of_threads(job, tmp_path: Path) -> None:
    public(job("baseline", task=None, threads=2), tmp_path / "run")
    fields = read_manifest(tmp_path / "run").fields
    assert (fields["threads"], fields["torch_threads"]) == (2, torch.get_num_threads())
    assert "metrics" not in fields


def test_the_trained_model_answers_the_sixteen_and_the_thousand_once_each(job, tmp_path: Path, monkeypatch) -> None:
    asked = []
    reference = import_module("tinyml.pipeline.reference")
    answers = reference.answers
    monkeypatch.setattr(reference, "answers", lambda module, x: asked.append(len(x)) or answers(module, x))
    public(job("baseline"), tmp_path / "run")
    assert asked == [16, 400]
