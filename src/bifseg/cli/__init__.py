"""The command line: ``bifseg app``, ``segment``, ``batch``, ``demo``, ``train``, ``join``, ``tune``, ``benchmark``,
``report``, ``tasks``, ``serve``, ``sessions``, ``token``, ``info``, ``doctor``.

Every refusal is one sentence on stderr and exit code 2, and leaves no output behind; a bug is a trace and exit code 1.
What is slow to import (torch, SimpleITK, rich) is imported by the command that needs it, so that ``bifseg --help``
answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import cast

import typer

from bifseg.cli.app import app as page
from bifseg.cli.batch import batch
from bifseg.cli.benchmark import benchmark
from bifseg.cli.demo import demo
from bifseg.cli.doctor import doctor
from bifseg.cli.info import info
from bifseg.cli.join import join
from bifseg.cli.report import report
from bifseg.cli.segment import segment
from bifseg.cli.serve import serve
from bifseg.cli.sessions import sessions_app
from bifseg.cli.tasks import tasks_app
from bifseg.cli.token import token_app
from bifseg.cli.train import train
from bifseg.cli.tune import tune
from bifseg.errors import BifsegError
from bifseg.threads import sleep_while_waiting

app = typer.Typer(
    help="Draw a box around anything in a medical image and get it segmented; scribble where it is wrong.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)  # of click, or of typer's own copy of it

app.command("app")(page)
for command in (segment, batch, demo, train, join, tune, benchmark, report, serve, info, doctor):
    app.command()(command)
for group in (tasks_app, sessions_app, token_app):
    app.add_typer(group)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, given without the program's name; returns its exit code."""
    sleep_while_waiting()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return app(arguments or ["--help"], prog_name="bifseg", standalone_mode=False, obj=arguments) or 0
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
