"""What is wrong with the cells of a sweep and can be known before the first of them runs."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from ...engines.errors import ConfigError
from ..options.machine import machine_of
from ..options.run import parameters_of, run_config, run_parameters
from ..options.server import server_options
from ..options.unconverted import USAGE_ERROR, usage_problem

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..sweep.grid import Cell


def refuse_wrong(context: typer.Context, words: Sequence[str], cells: Sequence[Cell]) -> None:
    """Reads the command lines of cells as the cells will, and makes the settings of each: a cell
    takes seconds, and this hundredths of one. Raises ConfigError for an option that the command
    does not take and a value or combination that it refuses."""
    from ..sweep.grid import covering

    name, *options = words
    asked = [("command", " ".join(words), options)]
    asked += [("vary", " ".join(cell.words), [*options, *cell.words]) for cell in covering(cells)]
    for field, told, line in asked:
        try:
            _parsed(context, name, line)
        except USAGE_ERROR as error:
            allowed = f"what {name} takes ({usage_problem(error).rstrip('.')})"
            raise ConfigError(field, told, allowed) from error
    for cell in cells:
        if cell.repeat == 1:
            _check(name, _parsed(context, name, [*options, *cell.words]))


def _parsed(context: typer.Context, name: str, line: Sequence[str]) -> dict[str, Any]:
    command: Any = context.find_root().command
    return command.commands[name].make_context(name, list(line), parent=context).params


def _check(name: str, params: dict[str, Any]) -> None:
    """Everything that needs neither a model's files nor a server."""
    from ..frontier.methods import is_list
    from ..run.planning import workload_of

    if is_list(str(params["quant"])):
        return  # a frontier, which checks each of its methods
    settings = run_config(**_of(run_parameters(), params))
    workload_of(settings.load)
    if name == "simulate":
        _check_simulated(settings, params)
    elif server_options(**_of(parameters_of(server_options), params)).client is None:
        _check_model(settings)
        if settings.engine.force_kernels:
            from ...kernels.choices import resolve_choices

            resolve_choices(settings.engine.force_kernels)


def _of(options: Sequence[inspect.Parameter], params: dict[str, Any]) -> dict[str, Any]:
    return {one.name: params[one.name] for one in options if one.name in params}


def _check_simulated(settings: RunConfig, params: dict[str, Any]) -> None:
    """All that the simulation checks, but for the requests: planning those takes a cell's time."""
    from ...workloads.api import Plan
    from ..simulation.simulate import prepare_simulation

    machine = machine_of(**_of(parameters_of(machine_of), params))
    prepare_simulation(settings, machine, Plan((), None))


def _check_model(settings: RunConfig) -> None:
    """A name that is none is refused; one that would have to be fetched is left to its cell."""
    from ...engines.models.catalogue import list_models, resolve_model
    from ...engines.models.hub import HUB_ID

    known = [entry.name for entry in list_models()]
    if settings.model not in known and not HUB_ID.fullmatch(os.path.expanduser(settings.model)):
        resolve_model(settings.model)
