"""The ``ostinato`` command: one file a subcommand."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from ostinato.errors import OstinatoError, TrainingError
from ostinato.models.needs import need

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
"""Exit codes: the input breaks a rule; the work itself failed; Ctrl-C."""


LONG_WORK = {"train", "compare", "demo"}


SPINS = "3000"


def wait_patiently() -> None:
    """Lets torch's threads spin only briefly while they wait for each other, and then sleep.

    GNU OpenMP spins for milliseconds. A training step of an LSTM with 256 units then took 36 ms on two idle cores and
    3500 ms beside one other busy process; with this bound 40 and 120 ms, and with no spinning at all 75 and 75 ms.
    The bound is read once, when torch is loaded; where that has happened already, the process begins again.
    """
    if not sys.platform.startswith("linux") or {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    if "torch" in sys.modules:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line, and exits.

    An error is one line on the error stream; ``--debug``, or ``OSTINATO_DEBUG=1``, shows where it came from.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and LONG_WORK & set(given[:1]):
        wait_patiently()
    debug = "--debug" in given or os.environ.get("OSTINATO_DEBUG", "") not in ("", "0")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character gets a question mark in its place, not a crash.
            stream.reconfigure(errors="replace")
    warnings.showwarning = _warn
    try:
        need("typer")
        from ostinato.cli.app import app

        app([argument for argument in given if argument != "--debug"], prog_name="ostinato")
    except OstinatoError as error:
        if debug:
            raise
        _fail(str(error), BAD_INPUT if isinstance(error, ValueError | TypeError) and not _failed(error) else FAILED)
    except OSError as error:
        if debug:
            raise
        _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), FAILED)
    except KeyboardInterrupt:
        if debug:
            raise
        _fail("stopped", INTERRUPTED)


def _warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """What there is to beware of, in the form of an error: where in the code it was noticed helps nobody here."""
    if issubclass(category, UserWarning):
        print(f"warning: {message}", file=sys.stderr)


def _failed(error: OstinatoError) -> bool:
    return isinstance(error, TrainingError)


def _fail(message: str, code: int) -> None:
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"{red}error:{plain} {message}", file=sys.stderr)
    raise SystemExit(code)
