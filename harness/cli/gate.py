"""`llmbench gate`: did a change make serving worse?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def gate(
    baseline: Annotated[Path, typer.Option(help="Directory of the run to hold against.")],
    current: Annotated[Path, typer.Option(help="Directory of the run to judge.")],
    max_regression: Annotated[
        list[str],
        typer.Option(
            help="What may get worse, and by how much: ttft.p99=10%, tpot.mean=2ms, "
            "preemptions=exact. Repeat for more."
        ),
    ],
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the verdict as Markdown.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Also write it as JUnit XML.")] = None,
) -> None:
    """Judge a run against a baseline. What was sampled is judged by its confidence interval.

    Exit codes: 0 passed, 1 regressed, 2 usage, 3 a run is not valid, 4 inconclusive.

    Example: llmbench gate --baseline runs/a --current runs/b --max-regression ttft.p99=10%
    """
    from ..gate import gate as judge
    from ..gate import parse_rule
    from ..gate_report import to_junit, to_markdown, to_text
    from ..store import StoreError, load_run

    rules = [parse_rule(text) for text in max_regression]
    outcome = judge(load_run(baseline), load_run(current), rules)
    print(to_text(outcome))
    for path, render in ((markdown, to_markdown), (junit, to_junit)):
        if path is None:
            continue
        try:
            path.write_text(render(outcome), encoding="utf-8")
        except OSError as error:
            raise StoreError("out", path, f"cannot be written: {error.strerror}") from error
    raise typer.Exit(outcome.exit_code)
