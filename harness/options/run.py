"""The options that say what is run: declared once, for every command that runs something."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from ...engines.errors import ConfigError
from .engine import engine_options
from .load import load_options

if TYPE_CHECKING:
    from ..config import RunConfig


# Options of a run that mean nothing where no model is.
NOT_SIMULATED = (
    "model_impl",
    "load_format",
    "async_scheduling",
    "cuda_graphs",
    "device",
    "threads",
    "kernel",
    "verify_kernels",
    "corpus",
    "warmup_requests",
    "quality_tokens",
    "quality_reference",
)


def with_run_options(
    without: Sequence[str] = (),
    *,
    varied: str | None = None,
    helps: Mapping[str, str] | None = None,
    **defaults: object,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of a run, before its own, and hands it the `RunConfig` they make
    as its first argument, `settings`. without: options it does not have. defaults: where the
    command's differ; `inspect.Parameter.empty` for one that must be typed. varied: the name of an
    option; hands the command a function instead, from a value of it (None: what was asked for) to a
    `RunConfig` with all else as given. helps: what the help says of an option where it means
    something else to the command."""

    def make(chosen: Mapping[str, Any]) -> Any:
        if varied is None:
            return run_config(**chosen)
        return lambda value: run_config(**{**chosen, **({varied: value} if value else {})})

    shared = [
        _helped(one, helps or {}).replace(default=defaults.get(one.name, one.default))
        for one in run_parameters()
        if one.name not in without
    ]
    return lambda command: with_options(command, "settings", shared, make)


def _helped(parameter: inspect.Parameter, helps: Mapping[str, str]) -> inspect.Parameter:
    """The option with the help that its name has in `helps`, if any."""
    if parameter.name not in helps:
        return parameter
    kind, option = get_args(parameter.annotation)
    option = copy(option)
    option.help = helps[parameter.name]
    return parameter.replace(annotation=Annotated[kind, option])


def with_options(
    command: Callable[..., None],
    argument: str,
    options: Sequence[inspect.Parameter],
    make: Callable[[Mapping[str, Any]], Any],
) -> Callable[..., None]:
    """The command with `options` before its own; what `make` makes of them is its `argument`."""

    @wraps(command)
    def called(**arguments: Any) -> None:
        chosen = {one.name: arguments.pop(one.name) for one in options}
        command(**{argument: make(chosen)}, **arguments)

    own = [one for one in parameters_of(command) if one.name != argument]
    parameters = [*options, *own]
    called.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def is_typed(context: typer.Context, name: str) -> bool:
    """Whether the option of that parameter stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refused(context: typer.Context, name: str, allowed: str) -> ConfigError:
    """The error for an option that means nothing here, with the value that was typed; a flag has
    none, and is told as it was typed."""
    value = context.params[name]
    if isinstance(value, bool):
        option = next(one for one in context.command.params if one.name == name)
        value = (option.opts if value else option.secondary_opts)[-1]
    elif isinstance(value, Path):
        value = str(value)
    elif isinstance(value, (list, tuple)):
        value = " ".join(map(str, value))
    return ConfigError(name, value, allowed)


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A function's parameters by keyword, with their annotations as objects."""
    parameters = inspect.signature(function).parameters.values()
    # Known to a type checker only: nothing heavy is imported here.
    local: dict[str, Any] = dict.fromkeys(
        ("RunConfig", "SettingsOf", "Machine", "MachineOf", "EngineConfig", "LoadConfig"), object
    )
    hints = get_type_hints(function, localns=local, include_extras=True)
    return [
        one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for one in parameters
    ]


def run_options(
    model: Annotated[
        str,
        typer.Option(
            help="A name from 'llmbench models', a Hugging Face directory, or a hub id.",
            rich_help_panel="Model",
        ),
    ] = "bundled",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of the model.", rich_help_panel="Model")
    ] = None,
    verify_kernels: Annotated[
        bool,
        typer.Option(
            "--verify-kernels",
            help="First compare every kernel that will run with its reference, at the model's "
            "shapes; a wrong one is refused.",
            rich_help_panel="Model",
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Same seed, same bytes sent.", rich_help_panel="Load")
    ] = 0,
    warmup_requests: Annotated[
        int,
        typer.Option(help="Sent first and not measured.", rich_help_panel="Measurement"),
    ] = 2,
    slo: Annotated[
        str | None,
        typer.Option(
            help="Limits for goodput, each with its unit, as ttft:200ms,tpot:50ms, or a preset "
            "such as sub-100ms.",
            rich_help_panel="Measurement",
        ),
    ] = None,
    quality_tokens: Annotated[
        int,
        typer.Option(
            help="Tokens that perplexity, and KL to the unquantised model, are computed over; "
            "0 for none.",
            rich_help_panel="Measurement",
        ),
    ] = 4096,
    quality_reference: Annotated[
        str | None,
        typer.Option(
            help="The unquantised model that a quantised directory was made from, as --model takes "
            "it: the directory does not say, and without it has no KL.",
            rich_help_panel="Measurement",
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(
            help="What all that serves costs an hour, such as 2.5, in any currency: the report "
            "then says what a million tokens cost.",
            rich_help_panel="Measurement",
        ),
    ] = None,
) -> dict[str, Any]:
    """What is neither engine nor load, as `RunConfig` calls it."""
    from ..slo import parse_slo

    return {
        "model": model,
        "seed": seed,
        "warmup_requests": warmup_requests,
        "slo_s": parse_slo(slo) if slo else {},
        "quality_tokens": quality_tokens,
        "quality_reference": quality_reference,
        "price_per_hour": price_per_hour,
        "threads": threads,
        "verify_kernels": verify_kernels,
    }


_PARTS = (run_options, engine_options, load_options)


def run_parameters() -> list[inspect.Parameter]:
    """The options of a run, the model first; panels of the help come in this order."""
    model, *rest = parameters_of(run_options)
    return [model, *parameters_of(engine_options), *parameters_of(load_options), *rest]


def run_config(**chosen: Any) -> RunConfig:
    """The settings of a run, checked. chosen: values of options; one that is left out has its
    default."""
    from ..config import RunConfig

    own, engine, load = (_made(part, chosen) for part in _PARTS)
    command = shlex.join(["llmbench", *sys.argv[1:]])
    return RunConfig(**own, engine=engine, load=load, command=command)


def _made(part: Callable[..., Any], chosen: Mapping[str, Any]) -> Any:
    """What one part makes of its own options."""
    names = [one.name for one in parameters_of(part)]
    return part(**{name: chosen[name] for name in names if name in chosen})
