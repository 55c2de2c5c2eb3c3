import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner

from tinyml import cli
from tinyml.cli.group import VERBS, tinyml
from tinyml.errors import GateMissed, RecipeError, TinymlError

HEAVY = {"torch", "numpy", "onnx", "onnxruntime", "pydantic", "rich", "ruamel"}


def run_python(code: str, *, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False, input=stdin
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `tinyml recipes` raise this."""

    def fail_with(error: BaseException) -> None:
        def raise_it(**_: object) -> None:
            raise error

        from tinyml.cli import recipes

        monkeypatch.setattr(recipes.command, "callback", raise_it)

    return fail_with


def caused(error: BaseException, *, by: BaseException) -> BaseException:
    """Return the error as one that was raised while another was handled."""
    error.__context__ = by
    return error


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys; from tinyml.cli import main; main(['--help']); print({HEAVY} & set(sys.modules))"
    assert run_python(code).stdout.splitlines()[-1] == "set()"


def test_help_lists_every_verb_and_ends_with_an_example(tinyml: Callable[..., object]) -> None:
    text = tinyml("--help").out
    assert all(f"  {verb}" in text for verb in VERBS)
    assert text.rstrip().splitlines()[-1].strip().startswith("tinyml compress")


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_ends_with_its_example(verb: str) -> None:
    result = CliRunner().invoke(tinyml, [verb, "--help"], catch_exceptions=False)
    assert result.output.rstrip().splitlines()[-1].strip().startswith(f"tinyml {verb}")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_loaded_without_torch(verb: str) -> None:
    code = f"import sys, tinyml.cli.{verb}; print({{'torch', 'onnx', 'onnxruntime'}} & set(sys.modules))"
    assert run_python(code).stdout.strip() == "set()"


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_takes_the_options_of_all_verbs(verb: str) -> None:
    command = tinyml.get_command(click.Context(tinyml), verb)
    names = {name for parameter in (command.params if command else ()) for name in parameter.opts}
    assert {"--verbose", "--quiet", "--no-color"} <= names


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["recipe"], "unknown verb 'recipe'; allowed: demo, train", id="verb"),
        pytest.param(["recipes", "--jsn"], "No such option '--jsn'", id="option"),
        pytest.param(["schema"], "Missing argument", id="argument"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(tinyml: Callable[..., object], arguments: list[str], said: str) -> None:
    outcome = tinyml(*arguments)
    assert (outcome.code, outcome.out, outcome.err.startswith(f"Error: {said}")) == (2, "", True)


def test_no_verb_gets_the_help(tinyml: Callable[..., object]) -> None:
    outcome = tinyml()
    assert (outcome.code, outcome.err.startswith("Usage: tinyml [OPTIONS] VERB")) == (2, True)


def test_an_unknown_verb_gets_the_nearest(tinyml: Callable[..., object]) -> None:
    assert tinyml("compres").err.endswith("Did you mean 'compress'?\n")


def test_a_verb_that_cannot_be_imported_says_so(tinyml: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tinyml.cli.recipes", None)
    outcome = tinyml("recipes")
    assert (outcome.code, outcome.err.startswith("Error: the verb 'recipes' cannot be loaded (")) == (1, True)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        pytest.param(TinymlError("it broke"), 1, "Error: it broke\n", id="failed"),
        pytest.param(RecipeError("no recipe"), 2, "Error: no recipe\n", id="refused"),
        pytest.param(GateMissed("too low"), 3, "Error: too low\n", id="gate"),
        pytest.param(KeyboardInterrupt(), 130, "\nInterrupted.\n", id="Ctrl-C"),
        pytest.param(
            caused(AttributeError("half imported"), by=KeyboardInterrupt()),
            130,
            "Interrupted.\n",
            id="Ctrl-C in an import",
        ),
        pytest.param(
            EOFError("no data left"),
            1,
            "\nError: EOFError: no data left; run again with -vv for the traceback\n",
            id="the end of a file is no Ctrl-C",
        ),
        pytest.param(
            ValueError("a\nb"), 1, "Error: ValueError: a b; run again with -vv for the traceback\n", id="our fault"
        ),
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device", "/mnt/x"),
            1,
            "Error: No space left on device: /mnt/x (free some space, or write elsewhere)\n",
            id="disk full",
        ),
        pytest.param(
            PermissionError(errno.EACCES, "Permission denied", "f"), 1, "Error: Permission denied: f\n", id="denied"
        ),
    ],
)
def test_an_error_is_one_line_and_its_code(
    tinyml: Callable[..., object], failing: Callable[[BaseException], None], error: BaseException, code: int, said: str
) -> None:
    failing(error)
    outcome = tinyml("recipes")
    assert (outcome.code, outcome.out, outcome.err) == (code, "", said)


def test_a_traceback_is_shown_with_vv_only(
    tinyml: Callable[..., object], failing: Callable[[BaseException], None]
) -> None:
    failing(ValueError("inside"))
    assert "Traceback" in tinyml("recipes", "-vv").err
    assert "Traceback" not in tinyml("recipes", "-v").err


def test_a_reader_that_goes_away_leaves_no_words() -> None:
    code = "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1); from tinyml.cli import main; sys.exit(main(['recipes']))"
    result = run_python(code)
    assert (result.returncode, result.stderr) == (1, "")


def test_a_full_disk_under_stdout_is_one_line() -> None:
    code = "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); from tinyml.cli import main; sys.exit(main(['recipes']))"
    result = run_python(code)
    assert (result.returncode, result.stderr.splitlines()[0][:30]) == (1, "Error: No space left on device")


@pytest.mark.parametrize("verb", [["recipes"], ["targets", "show", "arm64"], ["recipes", "--json"]])
def test_a_terminal_without_utf8_is_no_obstacle(verb: list[str]) -> None:
    result = run_python(f"from tinyml.cli import main; raise SystemExit(main({verb}))", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stdout.isascii(), result.stderr) == (0, True, "")


@pytest.mark.parametrize(
    ("flags", "level"),
    [([], logging.WARNING), (["-v"], logging.INFO), (["-vv"], logging.DEBUG), (["-q"], logging.ERROR)],
)
def test_verbosity_sets_what_is_logged(tinyml: Callable[..., object], flags: list[str], level: int) -> None:
    tinyml("recipes", *flags)
    assert logging.getLogger("tinyml").level == level


def test_version_is_told(tinyml: Callable[..., object]) -> None:
    assert tinyml("--version").out == "tinyml 0.1.0\n"


def test_python_m_tinyml_is_the_command_line() -> None:
    result = subprocess.run([sys.executable, "-m", "tinyml", "nothing"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.startswith("Error: unknown verb 'nothing'")) == (2, True)


def test_main_is_what_the_script_calls() -> None:
    assert cli.main(["--version"]) == 0
