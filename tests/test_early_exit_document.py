"""What docs/early-exit.md says: its recipe loads, its table is complete."""

import dataclasses
import re
from pathlib import Path

from tinyml.passes.early_exit import EarlyExit
from tinyml.recipe import load_recipe

DOCUMENT = (Path(__file__).parents[1] / "docs" / "early-exit.md").read_text(encoding="utf-8")


def test_the_recipe_loads(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    names = [entry.name for entry in load_recipe(str(tmp_path / "mine.yaml")).passes]
    assert names == ["early_exit", "fine_tuning", "linear_quantization"]


def test_the_table_tells_of_every_setting_of_early_exit() -> None:
    names = [field.name for field in dataclasses.fields(EarlyExit)]
    assert [name for name in names if f"`{name}`" not in DOCUMENT] == []


def test_the_table_has_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w.]+) \|", DOCUMENT, re.MULTILINE))
    assert rows == {
        name: str(getattr(EarlyExit(), name)).lower()
        for name in ("exits", "head", "rule", "max_drop_points", "temperature_scaling")
    }
