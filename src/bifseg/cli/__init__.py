"""The command line: ``bifseg app``, ``segment``, ``batch``, ``demo``, ``train``, ``tune``, ``benchmark``,
``report``, ``tasks``, ``serve``, ``sessions``, ``token``, ``info``, ``doctor``.

Every refusal is one sentence on stderr and exit code 2, and leaves no output behind; a bug is a trace and exit code 1.
What is slow to import (torch, SimpleITK, rich) is imported by the command that needs it, and a command by the call
that names it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any, cast

import typer
from typer.core import TyperGroup

from bifseg.errors import BifsegError
from bifseg.threads import sleep_while_waiting

COMMANDS = {
    "app": "app:app", "segment": "segment:segment", "batch": "batch:batch", "demo": "demo:demo",
    "train": "train:train", "tune": "tune:tune", "benchmark": "benchmark:benchmark",
    "report": "report:report", "serve": "serve:serve", "info": "info:info", "doctor": "doctor:doctor",
    "tasks": "tasks:tasks_app", "sessions": "sessions:sessions_app", "token": "token:token_app",
}  # fmt: skip
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)  # of click, or of typer's own copy of it


class Commands(TyperGroup):
    """Commands, of which a call imports the one that is called: all of them took it a tenth of a second."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            one = typer.Typer(callback=lambda: None)
            command = resolve_name(f"bifseg.cli.{COMMANDS[cmd_name]}")
            if isinstance(command, typer.Typer):
                one.add_typer(command)
            else:
                one.command(cmd_name)(command)
            self.commands[cmd_name] = typer.main.get_group(one).commands[cmd_name]
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        for name in COMMANDS:
            self.get_command(ctx, name)
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS:
            self.list_commands(ctx)  # to say which one may be meant
        return super().resolve_command(ctx, args)


program = typer.Typer(
    help="Draw a box around anything in a medical image and get it segmented; scribble where it is wrong.",
    add_completion=False,
    pretty_exceptions_enable=False,
    cls=Commands,
    callback=lambda: None,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, given without the program's name; returns its exit code."""
    sleep_while_waiting()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return program(arguments or ["--help"], prog_name="bifseg", standalone_mode=False, obj=arguments) or 0
    except UsageError as error:
        problem = error.format_message()
    except BifsegError as error:
        problem = str(error)
    except MemoryError as error:
        problem = f"There is not enough memory. {error}"
    except OSError as error:
        problem = f"{error.strerror}: {error.filename}." if error.filename else str(error)
    print("bifseg:", " ".join(problem.split()), file=sys.stderr)
    return 2
