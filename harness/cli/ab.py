"""`llmbench ab`: is B slower than A? Both take turns until the answer is sure."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .exits import Exit, say_error
from .figures import Figures
from .output import Quiet, write_ab, write_text
from .verdicts import Github, JunitFile, MarkdownFile, check_reports, reporting, say_verdicts

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        'llmbench ab "--engine paged" "--engine paged --quant awq"',
        'llmbench ab "--engine paged" "--engine inflight" --max-regression ttft.mean=10% '
        "--effect 20%   [dim]what is to be found is more than what is allowed[/]",
        "llmbench ab a.yaml b.yaml --pairs 40   [dim]files of options, such as engine: paged[/]",
        'llmbench ab "--engine paged" "--engine inflight" --html ab.html --out ab.json   '
        "[dim]'llmbench report ab.json' draws it again[/]",
        'llmbench ab "--engine paged" --a-tree ../base --b-tree .   [dim]a commit against a '
        "change[/]",
    )
)


def ab(
    a: Annotated[
        str,
        typer.Argument(help="Options of 'llmbench run' in quotes, or a YAML file of them."),
    ] = "",
    b: Annotated[
        str | None, typer.Argument(help="The same of the other side. Default: as A.")
    ] = None,
    a_tree: Annotated[
        Path | None, typer.Option(help="Source tree that A runs. Default: this llmbench.")
    ] = None,
    b_tree: Annotated[
        Path | None, typer.Option(help="Source tree that B runs. Default: this llmbench.")
    ] = None,
    max_regression: Annotated[
        list[str] | None,
        typer.Option(
            help="How much worse B may be: 5% for the default metrics (output_throughput.run, "
            "ttft.mean, tpot.mean), or tpot.mean=3%. Repeat it for more. Two processes of one tree "
            "differ by some tenths of a percent: less than 1% finds that, too."
        ),
    ] = None,
    effect: Annotated[
        str | None,
        typer.Option(
            help="The slowdown that must be found: says how many pairs it needs. Default: 10%."
        ),
    ] = None,
    pairs: Annotated[
        str,
        typer.Option(
            help="auto: until it is decided. Or an even number, looked at once: from 12 for one "
            "metric, from 14 for three."
        ),
    ] = "auto",
    max_pairs: Annotated[int, typer.Option(help="With auto: at most so many.")] = 80,
    max_time: Annotated[
        str, typer.Option(help="No more trials begin after this long, such as 300s.")
    ] = "600s",
    trial_time: Annotated[
        str, typer.Option(help="About how long a trial takes; sets its number of requests.")
    ] = "1s",
    num_requests: Annotated[
        int | None,
        typer.Option(
            "--num-requests", "--num-prompts", help="Requests a trial, in place of --trial-time."
        ),
    ] = None,
    trial_timeout: Annotated[
        str | None,
        typer.Option(
            help="A trial that takes longer has hung, such as 300s. Default: 20 times the longest "
            "so far, at least 60s."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of the requests. The order of turns is drawn anew each time.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write every trial as JSON.", rich_help_panel="Output"),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Also write a report: the verdicts, their intervals, and every pair drawn.",
            rich_help_panel="Output",
        ),
    ] = None,
    figures: Figures = None,
    markdown: MarkdownFile = None,
    junit: JunitFile = None,
    github: Github = False,
    quiet: Quiet = False,
) -> None:
    """Is B slower than A? Two processes take turns on the same requests, ABBA or BAAB by a coin,
    so that what a machine does meanwhile is no difference between them.

    Four trials of which one is not valid are dropped together, and counted in the verdict. Whatever
    ends a comparison early, Ctrl-C included, --out has what was measured, marked partial.

    Exit codes: 0 passed, 1 regressed, 2 usage, 3 not valid or cut short, 4 inconclusive.
    """
    from ...engines.errors import ConfigError
    from ..ab.asked import asked_now
    from ..ab.compare import Length, compare
    from ..ab.questions import questions_of
    from ..ab.side import SideOptions, both
    from ..ab.stored import as_json
    from ..ab.verdicts import verdicts_of
    from ..ab.view import view_of
    from ..comparison.evidence import ERROR_RATE
    from ..options.words import words_of
    from ..storage.json_text import json_text
    from ..units import parse_seconds
    from .progress import watching

    check_reports(out=out, html=html, markdown=markdown, junit=junit)
    with reporting("llmbench ab", markdown=markdown, junit=junit, github=github):
        questions = questions_of(max_regression or ["5%"], effect)
        if pairs != "auto" and not pairs.isdecimal():
            raise ConfigError("pairs", pairs, "auto or a number")
        if num_requests is not None and num_requests < 1:
            raise ConfigError("num_requests", num_requests, "at least 1")
        if seed < 0:
            raise ConfigError("seed", seed, "0 or more")
        length = Length(
            None if pairs == "auto" else int(pairs),
            max_pairs,
            parse_seconds("max_time", max_time),
            parse_seconds("trial_time", trial_time),
            num_requests,
            None if trial_timeout is None else parse_seconds("trial_timeout", trial_timeout),
        )
        length.looks_after(len(questions), ERROR_RATE)
        first = SideOptions("a", words_of("a", a), a_tree)
        second = SideOptions("b", words_of("b", a if b is None else b), b_tree)
        with watching(quiet=quiet) as watch:
            watch.stage("loading both sides")
            with both(first, second) as sides:
                asked = asked_now(shlex.join(["llmbench", *sys.argv[1:]]), first, second, seed)
                outcome = compare(*sides, questions, length, seed=seed, report=watch.stage)
    if out is not None:
        write_text(out, json_text(as_json(outcome, asked), indent=1) + "\n")
    code = say_verdicts(verdicts_of(outcome), markdown=markdown, junit=junit, github=github)
    write_ab(view_of(outcome, asked), html, figures)
    if outcome.partial:
        say_error(f"{outcome.failure}; what was measured is {_kept(out, html)}")
    raise typer.Exit(Exit.INTERRUPTED if outcome.interrupted else code)


def _kept(out: Path | None, html: Path | None) -> str:
    """Where what was measured is, of a comparison that did not come to its end."""
    if out is not None:
        return f"in {out}, marked partial"
    return "lost without --out" if html is None else f"only drawn, in {html}: --out keeps it"
