"""Finds and calls what a user names as 'package.module:factory', for models and for data alike."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from tinyml.errors import Refused, did_you_mean


def find_factory(spec: str, *, error: type[Refused]) -> Callable[..., object]:
    """Return the callable that 'package.module:factory' names; the working directory is importable.

    Raises:
        Refused: of the class `error`, where the text has another form, the module is missing or fails while it is
            imported, or the attribute is missing or cannot be called.
    """
    module_name, _, attribute = spec.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise error(f"'{spec}' names a file; name the module: '{dotted}:{attribute or 'factory'}'.")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise error(f"'{spec}' is not of the form 'package.module:factory'.")
    module = _import(module_name, spec, error)
    found = vars(module).get(attribute)
    if found is None:
        callables = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise error(f"'{spec}': module '{module_name}' has no '{attribute}'.{did_you_mean(attribute, callables)}")
    if not callable(found):
        raise error(f"'{spec}': '{attribute}' is a {type(found).__name__}, not a function or class that can be called.")
    factory: Callable[..., object] = found
    return factory


def call_factory(
    factory: Callable[..., object], arguments: Mapping[str, JsonValue], *, name: str, error: type[Refused]
) -> object:
    """Return `factory(**arguments)`, with the working directory importable while it runs.

    Raises:
        Refused: of the class `error`, where the arguments do not fit the signature (the allowed ones are named) or
            the factory raises (the exception is named in one line; errors of our own pass through unchanged).
    """
    _check_arguments(factory, arguments, name, error)
    try:
        with working_directory_importable():
            return factory(**arguments)
    except Refused:
        raise
    except (Exception, SystemExit) as failure:
        raise error(f"'{name}' failed while it was called: {describe(failure)}") from failure


@contextmanager
def working_directory_importable() -> Iterator[None]:
    """Put the working directory first on the import path, as `python -m` does, and take it off again."""
    directory = str(Path.cwd())
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        if directory in sys.path:  # the imported code may have changed the path itself
            sys.path.remove(directory)


def describe(failure: BaseException) -> str:
    """Return an exception as one line: its class, the first line of its text, and where it was raised."""
    text = next(iter(str(failure).strip().splitlines()), "")
    frames = traceback.extract_tb(failure.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(failure).__name__}{': ' if text else ''}{text}{'' if isinstance(failure, SyntaxError) else place}"


def _import(module_name: str, spec: str, error: type[Refused]) -> object:
    importlib.invalidate_caches()
    try:
        with working_directory_importable():
            return importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{module_name}.".startswith(f"{missing.name}."):
            raise error(f"'{spec}': importing '{module_name}' failed: {describe(missing)}") from missing
        here = [entry.stem for entry in Path.cwd().iterdir() if entry.suffix == ".py" or entry.is_dir()]
        raise error(
            f"'{spec}': there is no module '{missing.name}' in {Path.cwd()} or among the installed packages."
            f"{did_you_mean(missing.name, here)}"
        ) from missing
    except (Exception, SystemExit) as failure:
        raise error(f"'{spec}': importing '{module_name}' failed: {describe(failure)}") from failure


def _check_arguments(
    factory: Callable[..., object], arguments: Mapping[str, JsonValue], name: str, error: type[Refused]
) -> None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # a few builtins have no signature: the call itself will tell
        return
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    allowed = [key for key, parameter in signature.parameters.items() if parameter.kind in by_name]
    try:
        signature.bind(**arguments)
    except TypeError as failure:
        unknown = [key for key in arguments if key not in allowed]
        nearest = did_you_mean(unknown[0], allowed) if unknown else ""
        choice = f"allowed: {', '.join(allowed)}" if allowed else "it takes none"
        raise error(f"'{name}' refuses these arguments: {failure}; {choice}.{nearest}") from failure
