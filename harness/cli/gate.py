"""`llmbench gate`: did a change make serving worse?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit, say_text
from .verdicts import Github, JunitFile, MarkdownFile, check_reports, reporting, say_verdicts

if TYPE_CHECKING:
    from ..gate.verdicts import Verdicts

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench gate --baseline gate.yaml   [dim]exact, in virtual time[/]",
        "llmbench gate --baseline gate.yaml --update   [dim]what it does now is right[/]",
        "llmbench gate --baseline runs/a --current runs/b --max-regression ttft.p99=10%",
        "llmbench gate --baseline runs/five-a --current runs/five-b --max-regression ttft.p99=10% "
        "  [dim]of 'run --repeats 5': by intervals between runs[/]",
        "llmbench ab --a-tree ../base --b-tree .   [dim]wall time[/]",
    )
)


def gate(
    baseline: Annotated[
        Path,
        typer.Option(
            help="A file of runs and what they do in virtual time; or the directory of a stored "
            "run, or of a repeated one, to hold --current against."
        ),
    ],
    current: Annotated[
        Path | None,
        typer.Option(help="Directory of the stored run to judge; repeated, if --baseline is."),
    ] = None,
    max_regression: Annotated[
        list[str] | None,
        typer.Option(
            help="Of stored runs, which need it: what may get worse, and by how much: "
            "ttft.p99=10%, tpot.mean=2ms, preemptions=exact. Repeat it for more."
        ),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Rewrite the baseline file, and print what changed.")
    ] = False,
    run: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge, or with --update rewrite, only this run of the baseline file. Repeat for "
            "more."
        ),
    ] = None,
    markdown: MarkdownFile = None,
    junit: JunitFile = None,
    github: Github = False,
) -> None:
    """Did a change make serving worse?

    With a baseline file: every run of it is made again in virtual time, without a model, and must
    come to the same numbers. With two stored runs: what was sampled is judged by its confidence
    interval, over requests, or over runs where both are repeated; wall times that were not
    interleaved are weak evidence ('llmbench ab' interleaves).

    Exit codes: 0 passed, 1 regressed, 2 usage, 3 a run is not valid, 4 inconclusive.
    """
    from ...engines.errors import ConfigError

    of_runs = baseline.is_dir() or current is not None
    if update:
        _refuse_reports(markdown, junit)
        if not of_runs and not max_regression:
            raise typer.Exit(_update(baseline, run or []))
    where = "" if of_runs else baseline.as_posix()
    check_reports(markdown=markdown, junit=junit)
    with reporting("llmbench gate", markdown=markdown, junit=junit, github=github, file=where):
        if of_runs:
            if update or run:
                allowed = "a baseline file for --update and --run"
                raise ConfigError("baseline", str(baseline), allowed)
            verdicts = _stored(baseline, current, max_regression or [])
        else:
            if max_regression:
                allowed = "unset with a baseline file: its runs say what is 'allowed' themselves"
                raise ConfigError("max_regression", max_regression[0], allowed)
            verdicts = _exact(baseline, run or [])
    code = say_verdicts(verdicts, markdown=markdown, junit=junit, github=github, file=where)
    raise typer.Exit(code)


def _refuse_reports(markdown: Path | None, junit: Path | None) -> None:
    """An update judges nothing. Raises ConfigError."""
    from ...engines.errors import ConfigError

    for field, path in (("markdown", markdown), ("junit", junit)):
        if path is not None:
            raise ConfigError(field, str(path), "unset: --update judges nothing")


def _stored(baseline: Path, current: Path | None, rules: list[str]) -> Verdicts:
    from ...engines.errors import ConfigError, MissingError
    from ..gate.rules import parse_rule
    from ..gate.runs import gate, verdicts_of
    from ..repeats.directory import all_or_none, find_repeats
    from ..repeats.gate import gate_repeats
    from ..storage.store import RESULT_FILE, load_run

    if current is None:
        allowed = f"the stored run to hold against --baseline {baseline}"
        raise MissingError("current", allowed)
    for field, path in (("baseline", baseline), ("current", current)):
        if path.is_file() and path.name != RESULT_FILE:
            allowed = (
                "the directory of a stored run; a file of runs in virtual time is a --baseline "
                "without --current"
            )
            raise ConfigError(field, str(path), allowed)
    parsed = [parse_rule(text) for text in rules]
    if all_or_none([baseline, current]):
        outcome = gate_repeats(find_repeats(baseline), find_repeats(current), parsed)
    else:
        outcome = gate(load_run(baseline), load_run(current), parsed)
    return verdicts_of(outcome)


def _exact(path: Path, only: list[str]) -> Verdicts:
    from ..gate.baseline import read_baseline
    from ..gate.exact import gate_exact
    from ..gate.virtual import simulate_options

    baseline = read_baseline(path)
    with _naming(path):
        return gate_exact(baseline, simulate_options, only=only)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A workflow may have several baselines."""
    from ...engines.errors import ConfigError
    from ...workloads.api import WorkloadError

    try:
        yield
    except (ConfigError, WorkloadError) as error:
        error.args = (f"{path}: {error}",)
        raise


def _update(path: Path, only: list[str]) -> Exit:
    """Rewrite the file; the diff goes to standard output."""
    import difflib

    from ..gate.baseline import read_baseline, save_baseline
    from ..gate.exact import update
    from ..gate.virtual import simulate_options
    from ..machine.environment import package_version

    version = package_version("llmbench") or "not installed"
    baseline = read_baseline(path)
    with _naming(path):
        fresh = update(baseline, version, simulate_options, only=only)
    old = path.read_text(encoding="utf-8")
    new, name = save_baseline(path, fresh), path.name
    diff = difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, name)
    text = "".join(diff)
    print(text, end="")
    say_text(f"{path}: {'rewritten' if text else 'nothing changed'}")
    return Exit.OK
