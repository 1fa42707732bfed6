"""How every gate says its verdicts: on the terminal, in files, to GitHub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import write_text

if TYPE_CHECKING:
    from ..gate.verdicts import Verdicts

MarkdownFile = Annotated[
    Path | None,
    typer.Option(help="Also write the verdict as Markdown.", rich_help_panel="Output"),
]
JunitFile = Annotated[
    Path | None, typer.Option(help="Also write it as JUnit XML.", rich_help_panel="Output")
]
Github = Annotated[
    bool,
    typer.Option(
        "--github/--no-github",
        help="Also print GitHub annotations, and write the step's summary. Default: in a GitHub "
        "workflow.",
        rich_help_panel="Output",
        envvar="GITHUB_ACTIONS",
        show_default=False,
        show_envvar=False,
    ),
]


def check_reports(**files: Path | None) -> None:
    """Find out before minutes of measuring whether they can be written at the end. files: by the
    option that names each. Raises StoreError for the option."""
    from ..storage.whole_file import check_writable

    for field, path in files.items():
        if path is not None:
            check_writable(field, path)


@contextmanager
def reporting(
    title: str, *, markdown: Path | None, junit: Path | None, github: bool, file: str = ""
) -> Iterator[None]:
    """Around what comes to the verdicts: an earlier gate's reports are removed first, and an error
    that ends it is reported in their place. The error goes on."""
    from ..gate.verdicts import INVALID, Verdicts
    from ..storage.whole_file import writing

    for field, path in (("markdown", markdown), ("junit", junit)):
        if path is not None and path.is_file():
            with writing(field, path):
                path.resolve().unlink()
    try:
        yield
    except Exception as error:
        reason = (_in_a_line(error),)
        ended = Verdicts(title, INVALID, (), invalid=reason, undecided="an error ended it")
        _report(ended, markdown, junit, github=github, file=file)
        raise


def _in_a_line(error: Exception) -> str:
    """What a user did wrong as it is; of what is a bug its kind, too, and where it was."""
    from ...engines.errors import ConfigError
    from ...kernels.errors import KernelError, cause
    from ...workloads.api import WorkloadError
    from ..errors import InvalidRun

    if isinstance(error, (ConfigError, InvalidRun, KernelError, WorkloadError)):
        return str(error)
    return ": ".join((*getattr(error, "__notes__", ()), cause(error)))


def say_verdicts(
    verdicts: Verdicts,
    *,
    markdown: Path | None,
    junit: Path | None,
    github: bool,
    file: str = "",
) -> int:
    """Say them wherever it is asked for. file: what annotations are attached to. Returns the exit
    code. Raises StoreError for a file that cannot be written."""
    from ..gate.text import to_text

    print(to_text(verdicts), end="")
    _report(verdicts, markdown, junit, github=github, file=file)
    return verdicts.exit_code


def _report(
    verdicts: Verdicts, markdown: Path | None, junit: Path | None, *, github: bool, file: str
) -> None:
    from ..gate.github import to_annotations
    from ..gate.junit import to_junit
    from ..gate.markdown import to_markdown

    if markdown is not None:
        write_text(markdown, to_markdown(verdicts), field="markdown")
    if junit is not None:
        write_text(junit, to_junit(verdicts), field="junit")
    if github:
        print(to_annotations(verdicts, file), end="")
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            _append(Path(summary), to_markdown(verdicts) + "\n")


def _append(path: Path, text: str) -> None:
    from ..storage.whole_file import writing

    with writing("out", path), path.open("a", encoding="utf-8") as file:
        file.write(text)
