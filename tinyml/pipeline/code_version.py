"""Which code a run depends on, beyond the version numbers: our own as it stands, and a user's model factory."""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

import tinyml
from tinyml.errors import ModelError
from tinyml.factory import find_factory
from tinyml.files import sha256_of


def code_facts(models: Iterable[str]) -> dict[str, str]:
    """Return digests of tinyml's source files and of the files that define users' models.

    Args:
        models: zoo names, and 'package.module:factory' each.

    Raises:
        ModelError: a factory is not there.
    """
    facts = {"tinyml's code": _digest_of(Path(tinyml.__file__).parent)}
    for model in models:
        if ":" in model:
            find_factory(model, error=ModelError)  # imports its module
            source = sys.modules[model.partition(":")[0]].__file__
            facts[f"the code of '{model}'"] = sha256_of(Path(source)) if source else "unknown"
    return facts


def _digest_of(package: Path) -> str:
    """Return one digest of all Python files below a folder, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
