from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
from pydantic import Field

from tinyml import recipe as module
from tinyml.errors import RecipeError
from tinyml.numerics.sparsity import NOfM
from tinyml.passes import Compressed, Context, Pass
from tinyml.passes.base import Role
from tinyml.passes.weight_pruning import WeightPruning
from tinyml.recipe import Gates, Recipe, load_gates, load_recipe, recipe_schema, resolved_yaml
from tinyml.recipe_order import order_faults
from tinyml.shipped import shipped_files

SHIPPED = list(shipped_files("recipes"))


@dataclass(frozen=True, kw_only=True)
class Prune(Pass):
    """A pass with one setting that has no default."""

    role: ClassVar[Role] = "prune"
    sparsity: Annotated[float, Field(ge=0, lt=1)]
    layers: tuple[str, ...] = ()

    def requires(self, model: Compressed, context: Context) -> None: ...

    def apply(self, model: Compressed, context: Context) -> Compressed:
        return model

    def ensures(self, before: Compressed, after: Compressed) -> None: ...


@pytest.fixture(autouse=True)
def prune_is_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.PASSES, "prune", Prune)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "r.yaml"


def load(file: Path, text: str, *overrides: str) -> Recipe:
    file.write_text(text, encoding="utf-8")
    return load_recipe(str(file), overrides)


def refused(file: Path, text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as error:
        load(file, text, *overrides)
    return str(error.value).replace(str(file), "r")


HEAD = "version: 1\nname: x\n"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_loads_under_its_file_name(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", SHIPPED)
def test_a_resolved_recipe_is_read_back_as_equal_and_as_the_same_bytes(name: str, file: Path) -> None:
    recipe = load_recipe(name, ["gates.max_drop_points=1.5", "seed=7"])
    again = load(file, resolved_yaml(recipe))
    assert again == recipe
    assert resolved_yaml(again) == resolved_yaml(recipe)


def test_every_default_is_spelled_out() -> None:
    text = resolved_yaml(load_recipe("int8"))
    assert all(
        key in text for key in ("seed: 0", "images: 512", "weight_range: target", "input: float32", "agreement: null")
    )


def test_an_entry_may_be_a_bare_name(file: Path) -> None:
    bare = load(file, f"{HEAD}passes: [linear_quantization]")
    assert (
        bare
        == load(file, HEAD + "passes: [{linear_quantization: {}}]")
        == load(file, HEAD + "passes: [linear_quantization: ]")
    )


@pytest.mark.parametrize(
    "override",
    ["passes.0.sparsity=0.8", "passes.0.prune.sparsity=0.8", 'passes.0."sparsity"=0.8', "passes.0.sparsity=8e-1"],
)
def test_an_override_changes_a_setting(file: Path, override: str) -> None:
    recipe = load(file, HEAD + "passes: [prune: {sparsity: 0.5}]", override)
    assert recipe.passes[0].settings == Prune(sparsity=0.8)


def test_an_override_gives_a_bare_pass_what_it_lacks(file: Path) -> None:
    assert load(file, f"{HEAD}passes: [prune]", "passes.0.sparsity=0.5").passes[0].settings == Prune(sparsity=0.5)


def test_an_override_makes_missing_mappings(file: Path) -> None:
    assert load(file, HEAD, "gates.agreement=0.9").gates == Gates(agreement=0.9)


def test_the_last_of_two_overrides_holds(file: Path) -> None:
    assert load(file, HEAD, "seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        pytest.param("passes.0.sparsity=2", "passes.0.prune.sparsity: must be less than 1, not 2", id="out of range"),
        pytest.param("passes.0.sparsiti=0.1", "Did you mean 'sparsity'?", id="unknown setting"),
        pytest.param("passes.3.sparsity=0.1", "there is no 3 in passes; it has 1 entries", id="no such pass"),
        pytest.param("seed.x=1", "there is no 'x' in seed", id="inside a number"),
        pytest.param("passes.0.sparsity=[1", "not YAML", id="not YAML"),
        pytest.param("sparsity", "write KEY=VALUE", id="no value"),
        pytest.param("=1", "write KEY=VALUE", id="no key"),
    ],
)
def test_a_fault_of_an_override_names_it(file: Path, override: str, said: str) -> None:
    text = refused(file, f"{HEAD}seed: 0\npasses: [prune: {{sparsity: 0.5}}]", override)
    assert text.startswith(f"--set {override}: ")
    assert said in text


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param("prunes: {}", "r:4:5: passes.0.prunes: unknown pass; allowed: ", id="unknown"),
        pytest.param("prune: {sparsity: 1.0}", "passes.0.prune.sparsity: must be less than 1, not 1.0", id="range"),
        pytest.param("prune: {sparsity: nan}", 'sparsity: must be a number, not "nan"', id="nan"),
        pytest.param("prune: {}", "passes.0.prune.sparsity: missing", id="missing"),
        pytest.param("prune: 0.5", "passes.0.prune: must be a mapping, not 0.5", id="no mapping"),
        pytest.param(
            "prune:\n    sparsity: 0.5", "an entry is one pass, not 2 keys (prune, sparsity)", id="not indented"
        ),
        pytest.param("7", "passes.0: must be a pass", id="number"),
        pytest.param("{}", "passes.0: must be a pass", id="empty"),
        pytest.param("linear_quantization: {weight_bit: 8}", "Did you mean 'weight_bits'?", id="near word"),
    ],
)
def test_a_wrong_entry_is_told_with_its_place(file: Path, entry: str, said: str) -> None:
    text = f"{HEAD}passes:\n  - {entry}"
    assert said in refused(file, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("name: x", "r:1:1: version: missing", id="no version"),
        pytest.param("version: 2\nname: x", "r:1:1: version: must be 1, not 2", id="a later version"),
        pytest.param("version: 1", "r:1:1: name: missing", id="no name"),
        pytest.param(
            f"{HEAD}gates: {{max_drop_points: -1}}", "must be greater than or equal to 0, not -1", id="negative drop"
        ),
        pytest.param(
            f"{HEAD}gates: {{agreement: 99}}", "must be less than or equal to 1, not 99", id="percent for a share"
        ),
        pytest.param(f"{HEAD}passes: int8", 'passes: must be a list, not "int8"', id="passes is a word"),
        pytest.param(f"{HEAD}export: {{input: uint9}}", "Did you mean 'uint8'?", id="input type"),
        pytest.param(f"{HEAD}export: {{nonzeros: float17}}", "Did you mean 'float16'?", id="type of the non-zeros"),
        pytest.param("", "is empty", id="empty"),
    ],
)
def test_a_wrong_frame_is_told_with_its_place(file: Path, text: str, said: str) -> None:
    assert said in refused(file, text)


def test_all_faults_are_told_at_once(file: Path) -> None:
    text = refused(file, "version: 1\nnam: x\npasses: [prune: {sparsity: 2}, prun]\n", "seed=-1")
    assert text.splitlines()[0] == "5 faults in r:"


@pytest.mark.parametrize("name", ["int9", "recipes/int8", ""])
def test_an_unknown_name_gets_the_list(name: str) -> None:
    with pytest.raises(
        RecipeError,
        match=r"unknown recipe .*allowed: baseline, channels50.*fp16, int8",
    ):
        load_recipe(name)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(str(tmp_path / "none.yaml"))


PASSES = {
    "channel_pruning": "prune",
    "early_exit": "exit",
    "fine_tuning": "train",
    "half_precision": "cast",
    "kmeans_quantization": "quantize",
    "linear_quantization": "quantize",
    "weight_pruning": "prune",
}


@pytest.mark.parametrize(
    "names",
    [
        "channel_pruning fine_tuning early_exit linear_quantization",
        "kmeans_quantization linear_quantization",
        "channel_pruning fine_tuning linear_quantization fine_tuning",
        "channel_pruning fine_tuning channel_pruning fine_tuning",
        "channel_pruning half_precision",
    ],
)
def test_a_right_order_is_allowed(names: str) -> None:
    assert order_faults([(name, PASSES[name]) for name in names.split()]) == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        pytest.param("linear_quantization channel_pruning", "put it before", id="prunes after quantization"),
        pytest.param("kmeans_quantization channel_pruning", "put it before", id="prunes codes"),
        pytest.param("linear_quantization early_exit", "exits come before", id="exits after quantization"),
        pytest.param("early_exit early_exit", "let one of them attach all exits", id="exits twice"),
        pytest.param("linear_quantization kmeans_quantization", "cannot follow", id="k-means after linear"),
        pytest.param("linear_quantization linear_quantization", "cannot follow", id="twice"),
        pytest.param("weight_pruning channel_pruning", "put it before weight_pruning", id="cuts masked weights"),
        pytest.param("half_precision fine_tuning", "last pass", id="after half precision"),
        pytest.param("half_precision half_precision", "last pass", id="half precision twice"),
    ],
)
def test_a_wrong_order_is_refused_at_the_later_pass(names: str, said: str) -> None:
    ((index, text),) = order_faults([(name, PASSES[name]) for name in names.split()])
    assert (index, said in text) == (1, True)


def test_a_wrong_order_in_a_file_is_told_with_its_place(file: Path) -> None:
    text = refused(file, f"{HEAD}passes:\n  - linear_quantization\n  - prune: {{sparsity: 0.5}}")
    assert text.startswith("r:5:5: passes.1: prune would prune after linear_quantization")


def test_the_schema_knows_the_settings_of_every_pass() -> None:
    entries = recipe_schema()["$defs"]["RecipeFile"]["properties"]["passes"]["items"]["anyOf"]
    assert [next(iter(entry["properties"])) for entry in entries[1:]] == list(module.PASSES)


def test_gates_are_read_without_knowing_the_passes(file: Path) -> None:
    file.write_text(f"{HEAD}passes: [my_own: {{steps: 3}}]\ngates: {{max_drop_points: 1.5}}")
    assert load_gates(file) == Gates(max_drop_points=1.5)


def test_a_fault_of_the_gates_is_told(file: Path) -> None:
    file.write_text(f"{HEAD}gates: {{agreement: 2}}")
    with pytest.raises(RecipeError, match=r"gates\.agreement"):
        load_gates(file)


CUBIC = "weight_pruning: {schedule: cubic}"


def test_a_cubic_ramp_needs_a_training_after_it_and_the_place_is_told(file: Path) -> None:
    said = refused(file, f"{HEAD}passes:\n  - fine_tuning\n  - {CUBIC}\n  - linear_quantization\n")
    assert said.startswith("r:5:5: passes.1: weight_pruning prunes on a cubic ramp while a fine_tuning trains: put one")
    recipe = load(file, f"{HEAD}passes:\n  - {CUBIC}\n  - fine_tuning\n  - linear_quantization\n")
    assert [entry.name for entry in recipe.passes] == ["weight_pruning", "fine_tuning", "linear_quantization"]


@pytest.mark.parametrize("written", ["2:4", '"2:4"', "{keep: 2, of: 4}"])
def test_n_of_m_is_written_as_a_ratio_or_spelled_out(file: Path, written: str) -> None:
    recipe = load(file, f"{HEAD}passes:\n  - weight_pruning: {{structure: {written}}}\n")
    assert recipe.passes[0].settings == WeightPruning(structure=NOfM(keep=2, of=4))
    assert load(file, resolved_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("sparsity: 1.0", "r:4:22: passes.0.weight_pruning.sparsity: must be less than 1, not 1.0"),
        ("sparsity: .nan", "r:4:22: passes.0.weight_pruning.sparsity: .nan is not a finite number"),
        ("scope: globl", "Did you mean 'global'?"),
        ("structure: unstructred", "Did you mean 'unstructured'?"),
        ("structure: 4:2", "4:2 keeps nothing or everything: write N:M with 0 < N < M, such as 2:4"),
        ("structure: 2:4, sparsity: 0.7", "structure 2:4 zeroes 0.5 of the weights, not 0.7; write sparsity: 0.5"),
        ("layers: {head: {sparsty: 0.5}}", "Did you mean 'sparsity'?"),
    ],
)
def test_faults_of_pruning_are_told_with_their_cure(file: Path, settings: str, said: str) -> None:
    assert said in refused(file, f"{HEAD}passes:\n  - weight_pruning: {{{settings}}}\n")


def test_a_training_without_epochs_does_not_finish_a_ramp(file: Path) -> None:
    said = refused(file, f"{HEAD}passes:\n  - {CUBIC}\n  - fine_tuning: {{epochs: 0, batchnorm_images: 100}}")
    assert "passes.0: weight_pruning prunes on a cubic ramp while a fine_tuning trains: put one after it" in said


def test_the_files_that_passes_read_are_known_however_deep(file: Path, tmp_path: Path) -> None:
    recipe = load(file, f"{HEAD}passes:\n  - fine_tuning: {{distill: {{teacher: {tmp_path / 'big.pt'}}}}}")
    assert recipe.files == (tmp_path / "big.pt",)


def test_no_codebook_comes_between_a_cubic_ramp_and_its_training(file: Path) -> None:
    said = refused(file, f"{HEAD}passes:\n  - {CUBIC}\n  - kmeans_quantization\n  - fine_tuning\n")
    assert said.startswith(
        "r:5:5: passes.1: kmeans_quantization fixes which weights are zero, and weight_pruning prunes"
    )
    recipe = load(file, f"{HEAD}passes:\n  - {CUBIC}\n  - fine_tuning\n  - kmeans_quantization\n")
    assert [entry.name for entry in recipe.passes] == ["weight_pruning", "fine_tuning", "kmeans_quantization"]
