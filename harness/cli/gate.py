"""`llmbench gate`: did a change make serving worse?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit, say_text
from .verdicts import Github, JunitFile, MarkdownFile, check_reports, say_verdicts

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
    from ..storage.store import RESULT_FILE

    check_reports(markdown=markdown, junit=junit)
    if baseline.is_dir() or current is not None:
        if update or run:
            raise ConfigError("baseline", str(baseline), "a baseline file for --update and --run")
        if current is None:
            allowed = "--current beside it: the stored run to hold against this one"
            raise ConfigError("baseline", str(baseline), allowed)
        for field, path in (("baseline", baseline), ("current", current)):
            if path.is_file() and path.name != RESULT_FILE:
                allowed = (
                    "the directory of a stored run; a file of runs in virtual time is a --baseline "
                    "without --current"
                )
                raise ConfigError(field, str(path), allowed)
        verdicts = _stored(baseline, current, max_regression or [])
        where = ""
    else:
        if max_regression:
            raise ConfigError(
                "max_regression", max_regression[0], "'allowed' in the baseline file instead"
            )
        if update:
            _refuse_reports(markdown, junit)
            raise typer.Exit(_update(baseline, run or []))
        verdicts = _exact(baseline, run or [])
        where = baseline.as_posix()
    code = say_verdicts(verdicts, markdown=markdown, junit=junit, github=github, file=where)
    raise typer.Exit(code)


def _refuse_reports(markdown: Path | None, junit: Path | None) -> None:
    """An update judges nothing. Raises ConfigError."""
    from ...engines.errors import ConfigError

    for field, path in (("markdown", markdown), ("junit", junit)):
        if path is not None:
            raise ConfigError(field, str(path), "unset: --update judges nothing")


def _stored(baseline: Path, current: Path, rules: list[str]) -> Verdicts:
    from ..gate.rules import parse_rule
    from ..gate.runs import gate, verdicts_of
    from ..repeats.directory import all_or_none, find_repeats
    from ..repeats.gate import gate_repeats
    from ..storage.store import load_run

    parsed = [parse_rule(text) for text in rules]
    if all_or_none([baseline, current]):
        outcome = gate_repeats(find_repeats(baseline), find_repeats(current), parsed)
    else:
        outcome = gate(load_run(baseline), load_run(current), parsed)
    return verdicts_of(outcome)


def _exact(path: Path, only: list[str]) -> Verdicts:
    from ..errors import InvalidRun
    from ..gate.baseline import read_baseline
    from ..gate.exact import gate_exact
    from ..gate.verdicts import INVALID, Verdicts
    from ..gate.virtual import simulate_options

    try:
        return gate_exact(read_baseline(path), simulate_options, only=only)
    except InvalidRun as error:
        return Verdicts("llmbench gate", INVALID, (), (f"baseline {path}",), (str(error),))


def _update(path: Path, only: list[str]) -> Exit:
    """Rewrite the file; the diff goes to standard output."""
    import difflib

    from ..gate.baseline import read_baseline, save_baseline
    from ..gate.exact import update
    from ..gate.virtual import simulate_options
    from ..machine.environment import package_version

    version = package_version("llmbench") or "not installed"
    fresh = update(read_baseline(path), version, simulate_options, only=only)
    old = path.read_text(encoding="utf-8")
    new, name = save_baseline(path, fresh), path.name
    diff = difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, name)
    text = "".join(diff)
    print(text, end="")
    say_text(f"{path}: {'rewritten' if text else 'nothing changed'}")
    return Exit.OK
