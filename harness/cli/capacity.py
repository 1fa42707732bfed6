"""`llmbench capacity`: the largest request rate that holds an SLO."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options.machine import with_machine_options
from ..options.run import NOT_SIMULATED, with_run_options
from .console import foreign
from .earlier import Overwrite, check_capacities, check_run, refuse_overwrite
from .exits import Exit, say, say_error, say_text
from .output import AsJson, Quiet, as_asked, say_beside, write_texts

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..options.machine import MachineOf
    from ..run.watch import Watch
    from ..simulation.capacity_goal import CapacityGoal
    from ..simulation.capacity_order import Order
    from ..simulation.simulate import PreparedSimulation
    from ..simulation.simulated_capacity import EngineCapacity
    from ..storage.store import Standing

    SettingsOf = Callable[[str | None], RunConfig]

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench capacity --model llama-3-8b --hardware h100 --engine vllm-v1 --workload "
        "azure-conv --slo ttft:500ms,tpot:50ms",
        "llmbench capacity --compare paged,trtllm,vllm-v1 --slo llama3.1-8b",
        "llmbench capacity --compare paged,trtllm --slo ttft:500ms --price-per-hour 2.5   "
        "[dim]what a million tokens cost at capacity[/]",
        "llmbench capacity --model smollm2-135m --calibration calibration.json --slo ttft:2s "
        "--max-input-len 1024 --max-output-len 128   [dim]this machine, as measured[/]",
    )
)
# The rate is what is asked.
_WITHOUT = (*NOT_SIMULATED, "request_rate", "time_scale")
_HELPS = {
    "max_concurrency": "A cap in front of the engine, at every rate that is tried.",
    "arrival": "poisson or constant, in place of the workload's own. Default: own, gaps scaled to "
    "each rate, bursts and all; a closed loop becomes Poisson.",
}

Compare = Annotated[
    str | None,
    typer.Option(
        help="Several engines, as paged,trtllm,vllm-v1, in place of --engine.",
        rich_help_panel="Capacity",
    ),
]
Attainment = Annotated[
    str,
    typer.Option(
        help="Share of the requests that must keep every limit.", rich_help_panel="Capacity"
    ),
]
RateTolerance = Annotated[
    str, typer.Option(help="How finely the rate is found.", rich_help_panel="Capacity")
]
OutFor = Annotated[
    Path | None,
    typer.Option(
        help="Store what was found here, as capacity.json, .html and .md, and the run at capacity; "
        "with --compare, one directory an engine.",
        rich_help_panel="Output",
    ),
]


@with_run_options(
    without=_WITHOUT,
    varied="engine",
    helps=_HELPS,
    model="llama-3-8b",
    engine="vllm-v1",
    workload="azure-conv",
    num_requests=2000,
    slo=inspect.Parameter.empty,
)
@with_machine_options
def capacity(
    context: typer.Context,
    settings: SettingsOf,
    machine: MachineOf,
    compare: Compare = None,
    attainment: Attainment = "99%",
    rate_tolerance: RateTolerance = "2%",
    out: OutFor = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the largest request rate at which enough requests keep every limit, by bisection.

    Simulated. Every rate is sent the same requests in the same order: only the gaps change.
    """
    from ..simulation.simulated_capacity import prepare_capacity
    from .capacity_json import capacity_json
    from .capacity_kept import capacity_texts, page_of
    from .capacity_tables import print_capacities
    from .progress import watching

    refuse_overwrite(context)
    simulated_on = machine()
    # Everything that can be wrong is found before the first search.
    names = _engines(compare)
    configs = [as_asked(settings(name)) for name in names]
    goal = _goal(configs[0], attainment, rate_tolerance)
    directories = _directories(out, names)
    command = configs[0].command
    if out is not None and compare is not None:
        check_capacities(out, command, overwrite=overwrite)
    stood = [check_run(directory, command, overwrite=overwrite) for directory in directories]
    prepared = [prepare_capacity(config, simulated_on) for config in configs]
    with watching(quiet=quiet or as_json) as watch:
        found, ordered = _search(prepared, goal, watch)
    if as_json:
        print(capacity_json(found, goal, ordered))
    else:
        print_capacities(found, goal, ordered)
    if out is not None:
        stored = _store(found, directories, stood, quiet=quiet or as_json)
        place = out if compare is not None else _place_of(out, stored[0])
        texts = capacity_texts(found, goal, ordered, [page_of(one, place) for one in stored])
        without = {
            directory: before
            for directory, before, at in zip(directories, stood, stored, strict=True)
            if at is None
        }
        _keep(place, texts, without, quiet=quiet or as_json)
    raise typer.Exit(Exit.OK)


def _engines(compare: str | None) -> list[str | None]:
    """The engines to search for; None stands for --engine."""
    from ...engines.errors import ConfigError

    if compare is None:
        return [None]
    names: list[str | None] = [name.strip() for name in compare.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise ConfigError("compare", compare, "engines, each once, as in paged,trtllm,vllm-v1")
    return names


def _goal(config: RunConfig, attainment: str, rate_tolerance: str) -> CapacityGoal:
    from ...engines.errors import ConfigError
    from ..rate_search.bracket import check_search
    from ..simulation.capacity_goal import CapacityGoal
    from ..slo import SLO_WANTED
    from ..units import parse_share

    if not config.slo_s:
        raise ConfigError("slo", "", SLO_WANTED)
    goal = CapacityGoal(
        config.slo_s,
        parse_share("attainment", attainment),
        parse_share("rate_tolerance", rate_tolerance),
    )
    check_search(goal.attainment, goal.rate_tolerance)
    return goal


def _directories(out: Path | None, names: Sequence[str | None]) -> list[Path]:
    if out is None:
        return []
    return [out if name is None else out / name for name in names]


def _search(
    prepared: Sequence[PreparedSimulation], goal: CapacityGoal, watch: Watch
) -> tuple[list[EngineCapacity], tuple[Order, ...]]:
    from ..simulation.capacity_order import orders
    from ..simulation.simulated_capacity import engine_capacity

    try:
        found = [engine_capacity(one, goal, watch) for one in prepared]
        return found, orders(prepared, found, goal, watch)
    except KeyboardInterrupt:
        say_error("interrupted before a capacity was found: nothing is saved")
        raise typer.Exit(Exit.INTERRUPTED) from None


def _place_of(out: Path, stored: Path | None) -> Path:
    """Of one engine's answer: beside its run."""
    return out if stored in (None, out.resolve()) else stored


def _keep(
    place: Path, texts: Mapping[str, str], without: Mapping[Path, Standing], *, quiet: bool
) -> None:
    """The answer, in place of the earlier runs that it is not about. without: what stood at the
    place of each run that there is not, the answer's own place or those of several engines."""
    from ..storage.answers import remove_run, write_answer

    if place in without:
        write_answer(place, texts, without[place])
    else:
        write_texts(place, texts)
        for directory, before in without.items():
            remove_run(directory, before)
    if not quiet:
        say(f"[bold]capacity[/]  {foreign(place / 'capacity.html')}")


def _store(
    found: Sequence[EngineCapacity],
    directories: Sequence[Path],
    stood: Sequence[Standing],
    *,
    quiet: bool,
) -> list[Path | None]:
    """Where each run is; None without one. Raises PlaceTaken after all of them."""
    from ..cells.runner import store_measured
    from ..errors import PlaceTaken

    places: list[Path | None] = []
    taken: list[PlaceTaken] = []
    for one, directory, before in zip(found, directories, stood, strict=True):
        if one.run is None:
            say_text(f"{one.config.label}: no rate holds the SLO, so there is no run to store")
            places.append(None)
            continue
        try:
            stored = store_measured(directory, one.run, before)
        except PlaceTaken as error:
            taken.append(error)
            continue
        places.append(stored.directory)
        if not quiet:
            say(f"[bold]report[/]  {foreign(stored.directory / 'report.html')}")
        say_beside(directory, stored)
    for error in taken[:-1]:
        say_error(error)
    if taken:
        raise taken[-1]
    return places
