"""The command line: `main` runs a verb and turns whatever it raises into one line and an exit code."""

import errno
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import TextIOWrapper
from pathlib import Path

import click

from tinyml.cli.group import tinyml
from tinyml.errors import ProcessError, TinymlError
from tinyml.torchrun import Launch, launch

INTERRUPTED = 130
CURE = "run again with -vv for the traceback"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with these arguments (by default the process's own) and return the exit code."""
    # Read when torch is loaded: its waiting threads would spin, which costs most of the speed beside any busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows '?' and the work goes on
    place = Launch()
    try:
        place = launch()
        if not place.alone:
            # Read when torch is loaded: it would write a C++ stack at every try to reach another process.
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
        given = list(sys.argv[1:] if arguments is None else arguments)
        # A verb finds the words of the command line in its context's `obj`: reports quote them.
        with _results_of_first(place):
            code = tinyml.main(args=given, prog_name="tinyml", standalone_mode=False, obj=given)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # The reader (`| head`) has gone: the interpreter must not try to flush into the pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _refuse("Interrupted." if place.leads else "", INTERRUPTED)
    except Exception as error:
        if _is_interrupted(error):
            return _refuse("Interrupted." if place.leads else "", INTERRUPTED)
        line, code = _one_line(error)
        if not place.leads:
            if isinstance(error, ProcessError | click.ClickException):
                return code  # the first process says it
            line = f"{line} ({place})"
        if logging.getLogger("tinyml").isEnabledFor(logging.DEBUG):
            traceback.print_exc()
        return _refuse(line, code)
    finally:
        logging.captureWarnings(False)


@contextmanager
def _results_of_first(place: Launch) -> Iterator[None]:
    """Let only the first of several processes write to stdout."""
    if place.leads:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def _is_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C stands behind the error: click wraps it, and an interrupted import fails in its own way."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _one_line(error: Exception) -> tuple[str, int]:
    """Return what to say about the error, and the exit code."""
    if isinstance(error, TinymlError):
        return f"Error: {error}", error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message(), 2
    if isinstance(error, click.ClickException):
        return f"Error: {error.format_message()}", 2
    if isinstance(error, click.Abort) and isinstance(error.__cause__, EOFError):
        error = error.__cause__
    if isinstance(error, OSError) and error.errno is not None:
        place = f": {error.filename}" if error.filename else ""
        full = " (free some space, or write elsewhere)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return f"Error: {error.strerror}{place}{full}", 1
    text = " ".join(str(error).split())
    return f"Error: {type(error).__name__}: {text[:400]}; {CURE}", 1


def _refuse(line: str, code: int) -> int:
    try:
        if line:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:  # nobody listens; the code still tells
        pass
    return code
