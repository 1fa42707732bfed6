"""The measured rounds as a result: JSON for machines, Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ...engines.errors import ConfigError
from ..storage.whole_file import check_writable, write_whole, writing
from .base import PRECISIONS, Started, Variant
from .own import NAME as OWN
from .record import Turn
from .workload import MAX_NUM_SEQS, Figure

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_COLUMNS = {
    Figure.PREFILL_512: "prefill, 1 x 512",
    Figure.PREFILL_32X128: "prefill, 32 x 128",
    Figure.DECODE_1: "decode, batch 1",
    Figure.DECODE_8: f"decode, batch {MAX_NUM_SEQS}",
    Figure.OUTPUT: "32 requests: output",
}


@dataclass(frozen=True)
class OverRounds:
    """A figure over the rounds, in tokens a second: best is that of the shortest time."""

    median: float
    best: float


@dataclass(frozen=True)
class MeasuredRow:
    """One engine with one kind of weights, over `rounds` rounds."""

    variant: Variant
    rounds: int
    figures: Mapping[str, OverRounds]
    started: Started


@dataclass(frozen=True)
class PeersResult:
    """A whole comparison. cores: that everyone ran on. not_measured: why, by row or peer. machine:
    as `environment.capture`."""

    model: str
    cores: tuple[int, ...]
    date: str
    rows: tuple[MeasuredRow, ...]
    not_measured: Mapping[str, str]
    machine: Mapping[str, Any]
    command: str

    def as_json(self) -> dict[str, Any]:
        return {"schema_version": 1, **asdict(self)}


def measured_rows(turns: Sequence[Turn]) -> tuple[MeasuredRow, ...]:
    """A row for each variant: by precision, then in the order they were measured."""
    by_variant: dict[Variant, list[Turn]] = {}
    for turn in turns:
        by_variant.setdefault(turn.variant, []).append(turn)
    rows = [
        MeasuredRow(
            variant,
            len(own),
            {
                figure: OverRounds(median(values), max(values))
                for figure in Figure
                for values in [[turn.figures[figure] for turn in own]]
            },
            own[-1].started,
        )
        for variant, own in by_variant.items()
    ]
    return tuple(sorted(rows, key=lambda row: PRECISIONS.index(row.variant.precision)))


def markdown(result: PeersResult) -> str:
    """The result as Markdown: figures, ratios, how it was measured, what was not."""
    parts = [_where(result), _figures_table(result.rows), _RATES]
    if ratios := _ratios_table(result.rows):
        parts.append(ratios)
    if result.not_measured:
        parts.append(
            "Not measured:\n\n"
            + "\n".join(f"- {name}: {why}" for name, why in result.not_measured.items())
        )
    parts.append(_settings_table(result.rows))
    return "\n\n".join(parts) + "\n"


_RATES = "Tokens a second: median of the rounds, best in brackets."


def update_document(document: Path, text: str) -> None:
    """Put the Markdown between the two markers of a document. Raises as `check_document` does."""
    before, after = _around(document)
    with writing("document", document):
        write_whole(document, f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def check_document(document: Path) -> None:
    """Find out before the engines take turns whether their result can be put into a document.
    Raises ConfigError for one without the two markers, or that cannot be read or written."""
    _around(document)
    check_writable("document", document)


def _around(document: Path) -> tuple[str, str]:
    """What stands before and after the markers."""
    try:
        before, found, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    except OSError as error:
        raise ConfigError("document", str(document), f"a text ({error.strerror})") from error
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ConfigError("document", str(document), f"a text with {BEGIN} and {END}")
    return before, after


def _where(result: PeersResult) -> str:
    cpu = result.machine["cpu"]
    isa = ", ".join(cpu["isa"])
    rounds = [row.rounds for row in result.rows] or [0]
    least, most = min(rounds), max(rounds)
    return (
        f"{result.date[:10]}, {result.model}, {len(result.cores)} cores of {cpu['model']} "
        f"({isa}), {most if least == most else f'{least} to {most}'} rounds in turn."
        f"\n\n```sh\n{result.command}\n```"
    )


def _figures_table(rows: Sequence[MeasuredRow]) -> str:
    head = ["weights", "engine", "format", *_COLUMNS.values()]
    body = [
        [
            row.variant.precision,
            row.variant.engine,
            row.variant.weights,
            *(_spread(row.figures[figure]) for figure in _COLUMNS),
        ]
        for row in rows
    ]
    return _table(head, body, left=3)


def _ratios_table(rows: Sequence[MeasuredRow]) -> str:
    """Each of our formats, of its best engine, against the best of the others in its precision."""
    body = []
    formats = dict.fromkeys(
        (row.variant.precision, row.variant.weights) for row in rows if _is_own(row)
    )
    for precision, weights in formats:
        same = [row for row in rows if row.variant.precision == precision]
        theirs = [row for row in same if not _is_own(row)]
        mine = [row for row in same if _is_own(row) and row.variant.weights == weights]
        if theirs:
            ratios = (_ratio(mine, theirs, figure) for figure in _COLUMNS)
            body.append([precision, weights, *ratios])
    if not body:
        return ""
    note = "Our better engine over the best peer, medians; below 1 the peer is faster:"
    return f"{note}\n\n" + _table(["weights", "ours", *_COLUMNS.values()], body, left=2)


def _ratio(mine: Sequence[MeasuredRow], theirs: Sequence[MeasuredRow], figure: Figure) -> str:
    def speed(row: MeasuredRow) -> float:
        return row.figures[figure].median

    best = max(theirs, key=speed)
    return f"{speed(max(mine, key=speed)) / speed(best):.2f} of {best.variant.name}"


def _settings_table(rows: Sequence[MeasuredRow]) -> str:
    body = [
        [
            row.variant.name,
            row.started.said_versions,
            row.started.settings,
            f"`{row.started.command}`",
        ]
        for row in rows
    ]
    head = ["engine", "versions", "settings", "command"]
    return "How each was started:\n\n" + _table(head, body, left=4)


def _is_own(row: MeasuredRow) -> bool:
    return row.variant.engine.startswith(OWN)


def _spread(spread: OverRounds) -> str:
    return f"{_number(spread.median)} ({_number(spread.best)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _table(head: Sequence[str], body: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table; the first `left` columns are text."""
    rule = ["---" if index < left else "---:" for index in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))
