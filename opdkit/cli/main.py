"""Dispatches `opdkit <command>` and turns errors into an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from opdkit import __version__
from opdkit.cli.commands import COMMANDS
from opdkit.config.near import refusal
from opdkit.errors import Interrupted, RunError, UserError
from opdkit.world.launched import Teller, joined

IN_PROCESSES = ("train", "eval")
"""Commands that torchrun may start in several processes."""

HELP = """opdkit <command> [key=value ...]

{commands}

`opdkit <command> --help` has details.
Shell completion: eval "$(opdkit -sc install=bash)", or install=zsh; opdkit -sc install=fish | source
""".format(commands="\n".join(f"  {name:<7}{what}" for name, what in COMMANDS.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status: 0, 1 (a run that failed), 2 (bad input), 128 + a signal."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    teller = Teller()
    try:
        with joined(given[0] if given else "help", IN_PROCESSES, teller):
            return run(given)
    except UserError as error:
        return _report_error(error, 2, teller)
    except RunError as error:
        return _report_error(error, 1, teller)
    except Interrupted as stop:
        return 128 + stop.signum
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `opdkit ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run(given: list[str]) -> int:
    if not given or given[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    if given[0] == "--version":
        print(f"opdkit {__version__}")
        return 0
    if given[0] in ("-sc", "--shell-completion"):
        return importlib.import_module("opdkit.cli.completion").run(given[1:])
    if given[0] not in COMMANDS:
        raise UserError(refusal(given[0], "no such command", given[0], COMMANDS))
    return importlib.import_module(f"opdkit.cli.{given[0]}").run(given[1:])


def _report_error(error: Exception, status: int, teller: Teller) -> int:
    """Prints one line to stderr, from the first process that fails; the full traceback with HYDRA_FULL_ERROR=1."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    if teller.first():
        print("opdkit: error: " + " ".join(str(error).split()), file=sys.stderr, flush=True)
    return status
