"""`llmbench run --quant a,b,c`: every method on the same requests, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .console import foreign
from .exits import Exit, say, say_error, say_text
from .figures import draw
from .output import write_texts

if TYPE_CHECKING:
    from ...reports.frontier_model import Frontier
    from ..config import RunConfig
    from ..frontier.batch_steps import BatchSteps
    from ..frontier.runs import MethodRun
    from ..frontier.scores import AskedTasks
    from ..run.watch import Watch


def run_frontier(
    by_method: Mapping[str, RunConfig],
    out: Path | None,
    *,
    batch_steps: bool,
    tasks: AskedTasks | None,
    figures: Path | None,
    as_json: bool,
    quiet: bool,
) -> Exit:
    """Check every method, run what is not stored yet, analyse, report. Returns the exit code."""
    from ...reports.frontier_report import frontier_report
    from ..frontier.runs import check_directory
    from ..rendering import frontier_reports
    from ..storage.sole_writer import sole_writer
    from .progress import watching

    directory = out or _default_directory(by_method)
    with sole_writer(directory):
        check_directory(directory, tuple(by_method))
        with watching(quiet=quiet or as_json) as watch:
            try:
                runs, frontier = _measure(by_method, directory, batch_steps, tasks, watch)
            except KeyboardInterrupt:
                say_text(
                    f"what is measured so far is in {directory}; the same command goes on from "
                    "there"
                )
                raise
        reports = frontier_reports(frontier)
        write_texts(directory, reports)
    if figures is not None:
        draw(frontier_report(frontier), figures)
    if as_json:
        print(reports["frontier.json"], end="")
    else:
        from .frontier_tables import print_frontier

        print_frontier(frontier)
        say(f"\n[bold]report[/]  {foreign(directory / 'frontier.html')}")
    return _verdict(runs, frontier)


def _measure(
    by_method: Mapping[str, RunConfig],
    directory: Path,
    batch_steps: bool,
    tasks: AskedTasks | None,
    watch: Watch,
) -> tuple[tuple[MethodRun, ...], Frontier]:
    from ...engines.errors import ConfigError
    from ..frontier.analyse import analyse
    from ..frontier.runs import check_methods, run_methods
    from ..frontier.scores import check_tasks, run_tasks
    from ..rendering import frontier_reports

    settings = next(iter(by_method.values()))
    if tasks is not None:
        check_tasks(tasks, settings)
    checked = check_methods(tuple(by_method), settings, watch)
    runs = run_methods(checked, directory, watch)
    if not any(one.run for one in runs):
        raise ConfigError("quant", ",".join(by_method), f"a method that runs ({runs[0].failure})")
    del checked  # the last model's weights
    ran = {one.method: by_method[one.method] for one in runs if one.run is not None}
    if batch_steps or tasks is not None:
        # What follows takes many times as long as the runs: what they say is not held back.
        first = analyse(runs, None, {}, command=settings.command)
        write_texts(directory, frontier_reports(first))
        watch.stage(f"the frontier is in {directory / 'frontier.html'}; what follows adds to it")
    if batch_steps:
        watch.stage("steps at every batch size, twice a method: --no-batch-steps leaves them out")
    steps = _batch_steps(ran, runs, directory, watch) if batch_steps else None
    scores = run_tasks(ran, tasks, directory, watch.stage) if tasks is not None else {}
    return runs, analyse(runs, steps, scores, command=settings.command)


def _batch_steps(
    by_method: Mapping[str, RunConfig], runs: tuple[MethodRun, ...], directory: Path, watch: Watch
) -> BatchSteps:
    """Steps of these methods, which ran, at the batch sizes that all of them have room for."""
    from ..frontier.batch_steps import batch_sizes, measure_steps, steps_settings

    stored = {one.method: one.run.result for one in runs if one.run is not None}
    batches = batch_sizes(
        min(int(one.config["max_num_seqs"]) for one in stored.values()),
        min(one.kv.capacity_tokens for one in stored.values() if one.kv is not None),
        max(int(one.config.get("block_size") or 1) for one in stored.values()),
    )
    revision = str(next(iter(stored.values())).config.get("model_revision"))
    return measure_steps(by_method, steps_settings(by_method, revision, batches), directory, watch)


def _verdict(runs: tuple[MethodRun, ...], frontier: Frontier) -> Exit:
    code = Exit.OK
    for one in frontier.methods:
        if one.reason:
            say_error(f"{one.name} is not on the frontier: {one.reason}")
            code = Exit.INVALID
    return Exit.OUT_OF_MEMORY if any(one.failure for one in runs) else code


def _default_directory(by_method: Mapping[str, RunConfig]) -> Path:
    """Named by what is asked, so that the same command finds it again."""
    settings = next(iter(by_method.values()))
    model = Path(settings.model).name
    return Path("runs") / f"frontier-{model}-{settings.engine.engine}-{'-'.join(by_method)}"
