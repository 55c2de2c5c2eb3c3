"""exits.json: what runs the stages of a network with exits needs beside their files; a person may change it."""

from pathlib import Path
from typing import Annotated, Final, Literal, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tinyml.errors import CheckpointError
from tinyml.numerics.exit_rules import ExitRule
from tinyml.runtime.exit_policy import ExitPolicy

EXITS_NAME: Final = "exits.json"


@final
class ExitsFile(BaseModel):
    """The contents of exits.json.

    Attributes:
        format: says what the file is.
        rule: how confidences are computed, see `tinyml.numerics.exit_rules`.
        thresholds, temperatures: one for each stage but the last.
        stages: names of the stage files, in order, beside this one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["tinyml-exits"] = "tinyml-exits"
    rule: ExitRule
    thresholds: tuple[float, ...]
    temperatures: tuple[float, ...]
    stages: tuple[Annotated[str, Field(pattern=r"^[^/\\]+$")], ...]

    @property
    def policy(self) -> ExitPolicy:
        """When to leave; RecipeError where a number means nothing under the rule."""
        return ExitPolicy(rule=self.rule, thresholds=self.thresholds, temperatures=self.temperatures)


def read_exits(path: Path) -> ExitsFile:
    """Return the contents of an exits.json.

    Raises:
        CheckpointError: it is missing, no JSON, or says something else than it may.
    """
    try:
        return ExitsFile.model_validate_json(path.read_bytes(), strict=False)
    except OSError as error:
        raise CheckpointError(f"{path}: it cannot be read; stages come with an {EXITS_NAME} beside them.") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors())
        raise CheckpointError(f"{path}: {faults}.") from error
