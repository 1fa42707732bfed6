"""`llmbench`: the commands, and what their errors look like."""

from __future__ import annotations

import atexit
import errno
import inspect
import logging
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ...engines.errors import ConfigError, OutOfMemory
from ...kernels.errors import KernelError
from ...workloads.api import WorkloadError
from ..errors import InvalidRun
from ..options.unconverted import USAGE_ERROR, usage_problem
from . import (
    ab,
    ablate,
    bench_engine,
    calibrate,
    calibrate_client,
    capacity,
    claims,
    compare,
    doctor,
    engines,
    eval,
    explain,
    export,
    gate,
    history,
    kernels,
    mock_server,
    models,
    peers,
    quantize,
    report,
    roofline,
    run,
    schedule,
    serve,
    simulate,
    sweep,
    this_machine,
    workload,
)
from .closed_pipe import outlive_readers, unwritten
from .exits import Exit, say_error
from .whole_names import name_options_whole


class _Commands(TyperGroup):
    """Says that Ctrl-C ended a command: typer would leave with its exit code, and say nothing."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _said_if_interrupted():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: typer.Context) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        with _said_if_interrupted():
            return super().invoke(ctx)


@contextmanager
def _said_if_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        say_error("interrupted")
        raise typer.Exit(Exit.INTERRUPTED) from error


app = typer.Typer(
    name="llmbench",
    cls=_Commands,
    help="Which LLM serving strategy is better for this model, on this machine, under this load, "
    "and why. Start with: llmbench run",
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", epilog=run.EPILOG)(run.run)
app.command("simulate", epilog=simulate.EPILOG)(simulate.simulate)
app.command("capacity", epilog=capacity.EPILOG)(capacity.capacity)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.command("report", epilog=report.EPILOG)(report.report)
app.command("explain", epilog=explain.EPILOG)(explain.explain)
app.command("export", epilog=export.EPILOG)(export.export)
app.command("compare", epilog=compare.EPILOG)(compare.compare)
app.command("claims", epilog=claims.EPILOG)(claims.claims)
app.command("gate", epilog=gate.EPILOG)(gate.gate)
app.command("history", epilog=history.EPILOG)(history.history)
# A quoted text of options begins as an option does.
app.command("ab", epilog=ab.EPILOG, context_settings={"ignore_unknown_options": True})(ab.ab)
app.command("sweep", epilog=sweep.EPILOG)(sweep.sweep)
app.command("ablate", epilog=ablate.EPILOG)(ablate.ablate)
app.command("schedule", epilog=schedule.EPILOG)(schedule.schedule)
app.command("calibrate")(calibrate.calibrate)
app.command("calibrate-client", epilog=calibrate_client.EPILOG)(calibrate_client.calibrate_client)
app.command("roofline")(roofline.roofline)
app.command("bench-engine", epilog=bench_engine.EPILOG)(bench_engine.bench_engine)
app.command("machine", epilog=this_machine.EPILOG)(this_machine.machine)
app.command("eval", epilog=eval.EPILOG)(eval.eval_)
app.command("mock-server", epilog=mock_server.EPILOG)(mock_server.mock_server)
app.command("peers", epilog=peers.EPILOG)(peers.peers)
app.command("quantize", epilog=quantize.EPILOG)(quantize.quantize)
app.add_typer(models.models, name="models")
app.add_typer(workload.workload, name="workload")
app.add_typer(kernels.kernels, name="kernels")
app.command("engines")(engines.engines)
app.command("doctor")(doctor.doctor)


def _flow(commands: typer.Typer) -> None:
    """Helps from docstrings, a paragraph a line: a terminal's width breaks them, not the source's.
    typer joins the lines of the first paragraph only."""
    for command in commands.registered_commands:
        if command.help is None and command.callback is not None:
            text = inspect.cleandoc(command.callback.__doc__ or "")
            command.help = "\n\n".join(" ".join(one.split()) for one in text.split("\n\n"))
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _flow(group.typer_instance)


_flow(app)


def _say_version(asked: bool) -> None:
    if asked:
        from ..machine.environment import package_version

        print(f"llmbench {package_version('llmbench') or 'of an unknown version'}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def overview(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 -- its callback says it
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code. What a user did wrong is one line, never a
    traceback; a traceback is a bug of ours and is shown. Output that cannot be written makes a
    success none, and no other verdict another."""
    outlive_readers()
    name_options_whole()
    _show_log()
    code = _carry_out(arguments)
    if problem := unwritten():
        say_error(problem)
        code = code or Exit.USAGE
    # The verdict is said: one more Ctrl-C would only be a traceback of a library that tidies up.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


class _OnStandardError(logging.Handler):
    """Each record on the standard error that there is when it is logged: where `main` is called
    again, as tests do, the one of the first call may be closed."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


_SHOWN = _OnStandardError()


def _show_log() -> None:
    """What our own modules log, such as that kernels are being compiled, a line each, however often
    it is asked for."""
    ours = logging.getLogger("llmbench")
    ours.setLevel(logging.INFO)
    ours.addHandler(_SHOWN)  # once: a logger takes the same handler no second time


def _carry_out(arguments: list[str] | None) -> int:
    """The exit code; what went wrong is said."""
    try:
        return app(arguments, standalone_mode=False) or Exit.OK
    except InvalidRun as error:
        say_error(error)
        return Exit.INVALID
    except OutOfMemory as error:
        say_error(error)
        return Exit.OUT_OF_MEMORY
    except (ConfigError, WorkloadError, KernelError) as error:
        say_error(error)
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
        say_error("interrupted")
        return Exit.INTERRUPTED
    except USAGE_ERROR as error:
        # A group of commands without one of them shows its help, and has no more to say.
        if problem := usage_problem(error):
            say_error(f"{problem} (see --help)")
        return Exit.USAGE
    except OSError as error:
        # Of a name that is too long, and below a closed directory, not even `exists` has an answer.
        if error.errno not in (errno.ENAMETOOLONG, errno.EACCES) or error.filename is None:
            traceback.print_exc()
            return Exit.BUG
        say_error(f"path: {str(error.filename)!r} cannot be looked up: {error.strerror}")
        return Exit.USAGE
    except Exception:  # noqa: BLE001 -- shown whole, below
        traceback.print_exc()
        return Exit.BUG
