"""The timeline of a schedule: a row a sequence, a column a step, a letter what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from .result import Schedule, Step

LEGEND = {
    "P": "prompt computed to its end",
    "p": "a part of it",
    "R": "recomputed after a preemption",
    "r": "a part of that",
    "D": "decode",
    ".": "waits",
    "-": "runs, computes nothing",
    "x": "preempted",
    "o": "swapped out",
    "h": "on the host",
    "!": "refused",
    "a": "aborted",
    ":": "steps with nobody there",
}
_STYLES = {
    "P": "bold green",
    "p": "green",
    "R": "bold yellow",
    "r": "yellow",
    "D": "cyan",
    ".": "dim",
    "-": "dim",
    "x": "bold red",
    "o": "bold red",
    "h": "dim",
    "!": "bold red",
    "a": "magenta",
}
_ABSENT = " "
GAP = ":"
_CELL = 2
_RULER = 5


@dataclass(frozen=True)
class Timeline:
    """columns: the steps' numbers, None for a gap between them. rows: a letter a column for each
    sequence. held: the share of the pool that is held, in tenths and rounded up; `*` is all."""

    columns: tuple[int | None, ...]
    rows: dict[str, str]
    held: str


def timeline(schedule: Schedule) -> Timeline:
    columns: list[int | None] = []
    letters: list[dict[str, str]] = []
    held: list[str] = []
    seen: set[str] = set()
    for step in schedule.steps:
        if columns and columns[-1] is not None and step.index > columns[-1] + 1:
            columns.append(None)
            letters.append({})
            held.append(GAP)
        columns.append(step.index)
        letters.append(_letters(step, seen))
        seen.update(step.running)
        held.append(_tenths(step.kv.held, schedule.kv_total))
    rows = {
        name: "".join(
            GAP if column is None else found.get(name, _ABSENT)
            for column, found in zip(columns, letters, strict=True)
        )
        for name in _sequences(schedule)
    }
    return Timeline(tuple(columns), rows, "".join(held))


def render(schedule: Schedule, width: int) -> list[Text]:
    """Lines of at most `width` characters; a long schedule goes on below, panel by panel."""
    found = timeline(schedule)
    label = max(map(len, (*found.rows, "step")), default=0) + 2
    fit = max(_RULER, (width - label) // _CELL)
    lines: list[Text] = []
    for start in range(0, len(found.columns), fit):
        end = start + fit
        if start:
            lines.append(Text())
        columns = found.columns[start:end]
        lines.append(Text(f"{'step':{label}}{_ruler(columns)}".rstrip(), style="bold"))
        for name, letters in found.rows.items():
            if letters[start:end].strip(_ABSENT + GAP):
                lines.append(_row(name, letters[start:end], label))
        lines.append(Text(f"{'held':{label}}{_spaced(found.held[start:end])}", style="dim"))
    return lines


def legend(schedules: Sequence[Schedule], width: int) -> list[Text]:
    """What the letters that occur stand for."""
    used = {letter for one in schedules for row in timeline(one).rows.values() for letter in row}
    words = [f"{letter} {meaning}" for letter, meaning in LEGEND.items() if letter in used]
    words.append("held: tenths of the KV pool, rounded up, * all")
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}, {word}" if lines[-1] else word
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [Text(line, style="dim") for line in lines]


def _letters(step: Step, seen: set[str]) -> dict[str, str]:
    """What happened to whom; what is said later weighs more. seen: who was there before."""
    found = dict.fromkeys(step.waiting, ".")
    found |= dict.fromkeys(step.on_host, "h")
    # A sample just born has its first token from the prompt's last chunk, not from one of its own.
    found |= {name: "-" for name in step.running if "#" not in name or name in seen}
    for chunk in step.prefills:
        whole, part = ("R", "r") if chunk.recomputed_tokens else ("P", "p")
        found[chunk.request_id] = whole if chunk.yields_token else part
    found |= {chunk.request_id: "D" for chunk in step.decodes}
    found |= dict.fromkeys(step.preempted, "x")
    found |= dict.fromkeys(step.swapped_out, "o")
    found |= {one.request_id: "!" for one in step.refused}
    found |= dict.fromkeys(step.aborted, "a")
    return found


def _sequences(schedule: Schedule) -> list[str]:
    """Requests in the scenario's order, each followed by its samples."""
    born = {name for step in schedule.steps for name in (*step.running, *step.ended)}
    return [
        name
        for request in schedule.scenario.requests
        for choice in range(request.n)
        if (name := f"{request.id}#{choice}" if choice else request.id) in born or not choice
    ]


def _tenths(held: int, total: int) -> str:
    return "*" if held == total else str(min(9, -(-10 * held // total)))


def _ruler(columns: Sequence[int | None]) -> str:
    """The number of every fifth step, where it has room."""
    text = ""
    for place, column in enumerate(columns):
        at = place * _CELL
        first = place == 0 or columns[place - 1] is None
        if column is not None and (first or column % _RULER == 0) and len(text) <= at:
            text = f"{text:{at}}{column} "
    return text


def _row(name: str, letters: str, label: int) -> Text:
    line = Text(f"{name:{label}}")
    for letter in letters:
        line.append(letter, _STYLES.get(letter, ""))
        line.append(" " * (_CELL - 1))
    line.rstrip()
    return line


def _spaced(letters: str) -> str:
    return (" " * (_CELL - 1)).join(letters)
