"""The numbers of a run, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .facts import counted_as, failures, knows_steps, served, told
from .format import (
    ABSENT,
    count,
    is_present,
    number,
    percent,
    plural,
    quantity,
    seconds_in,
    size,
)
from .glossary import KV_STATES, METRICS, OTHER, PARTS, label_of
from .model import Cell, Column, Run, Table

SLOWEST = 20


def table(
    table_id: str,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    words: Sequence[str] = (),
    note: str = "",
    folded: bool = False,
) -> Table:
    """A table from text. The first column and those in `words` are text, the others numbers."""
    return Table(
        id=table_id,
        title=title,
        columns=tuple(
            Column(name, numeric=position > 0 and name not in words)
            for position, name in enumerate(columns)
        ),
        rows=tuple(
            tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows
        ),
        note=note,
        folded=folded,
    )


def kv(run: Run) -> Table | None:
    """Mean and peak room by state, and what each state is; None where that is not known."""
    summary = run.result["kv"]
    if summary is None:
        return None
    taken = sum(
        summary[f"{state.id}_tokens"]["mean"] for state in KV_STATES if state.id != "shared"
    )
    rows: list[list[str]] = []
    for state in KV_STATES:
        share = summary[f"{state.id}_tokens"]
        of_taken = share["mean"] / taken if taken and state.id != "shared" else None
        rows.append(
            [
                state.label,
                number(share["mean"]),
                size(share["mean"] * summary["bytes_per_token"]),
                count(share["peak"]),
                percent(of_taken),
                state.meaning,
            ]
        )
    return table(
        "kv-states",
        "KV cache by state",
        ("State", "Mean tokens", "Mean size", "Peak tokens", "Of room taken", "What it is"),
        rows,
        words=("What it is",),
        note=f"{summary['kind'].capitalize()} cache of {count(summary['capacity_tokens'])} tokens "
        f"({size(summary['capacity_bytes'])}, {size(summary['bytes_per_token'])} a token). Means "
        "are over step time.",
    )


def checks(run: Run) -> Table:
    """Every question asked about whether the run can be believed, failures first."""
    order = [*failures(run), *(one for one in run.result["validity"]["checks"] if one["ok"])]
    return table(
        "checks",
        "Can this run be believed?",
        ("Check", "Outcome", "What was found"),
        [(check["id"].replace("_", " "), _outcome(check), told(check)) for check in order],
        words=("Outcome", "What was found"),
    )


def _outcome(check: Mapping[str, Any]) -> Cell:
    if check["ok"]:
        return Cell("✓ passed", "good")
    return Cell("✕ failed", "bad") if check["fatal"] else Cell("! caution", "caution")


def slowest(run: Run) -> Table | None:
    """The slowest requests from due to done, and where their time went."""
    frame = served(run).sort_values("e2el_s", ascending=False, kind="stable").head(SLOWEST)
    if frame.empty:
        return None
    # What nobody counted is not there, or 0 in every row.
    counted = run.result["counters"]
    known = {
        "queue_s": bool(frame["queue_s"].notna().any()),
        "preemptions": counted["preemptions"] is not None,
        "recomputed_tokens": counted["recomputed_tokens"] is not None,
    }
    columns = [one for one in _OF_A_REQUEST if known.get(one[1], True)]
    return table(
        "slowest",
        f"Slowest {plural(len(frame), *counted_as(run.result['config']))}, end to end",
        [title for title, _, _ in columns],
        [[shown(row[name]) for _, name, shown in columns] for row in frame.to_dict("records")],
    )


def not_served(run: Run) -> Table | None:
    """Requests that are in no latency, and why."""
    frame = run.requests[run.requests["status"] != "ok"]
    if frame.empty:
        return None
    rows = [
        (str(row["request_id"]), Cell(str(row["status"]), "bad"), str(row["detail"]) or ABSENT)
        for row in frame.head(SLOWEST).to_dict("records")
    ]
    more = len(frame) - len(rows)
    return table(
        "not-served",
        f"{plural(len(frame), *counted_as(run.result['config']))} not served",
        ("Request", "Status", "Why"),
        rows,
        words=("Status", "Why"),
        note=f"{count(more)} more are in requests.parquet." if more else "",
    )


def counters(run: Run) -> Table:
    many = counted_as(run.result["config"])[1]
    return table(
        "counters",
        "Counters",
        ("Counter", "Count"),
        [
            (label_of(name.replace("requests", many)), count(value))
            for name, value in run.result["counters"].items()
            if value is not None
        ],
        # Of a server's steps nothing is known, and its failures are no matter of the schedule.
        note="Exact: the same schedule gives the same counts." if knows_steps(run) else "",
    )


def memory(run: Run) -> Table | None:
    found = run.result["memory"]
    if found is None:
        return None
    return table(
        "memory",
        "Memory",
        ("What", "Size"),
        [(label_of(name), size(value)) for name, value in found.items()],
    )


def quality(run: Run) -> Table | None:
    """Distance to the unquantised engine, or the perplexity alone where nothing was held beside
    it; None if it was not measured."""
    found = run.result.get("quality")
    if found is None:
        return None
    text = quality_text(found)
    answers = f"over {count(found['compared_tokens'])} tokens of this run's answers"
    alone = ("Perplexity", number(found["perplexity"]), text)
    has_reference = is_present(found["reference_perplexity"]) or bool(found["compared_tokens"])
    rows = [
        alone,
        ("Perplexity, reference", number(found["reference_perplexity"]), found["reference"]),
        *_distance(found, "text_", "on the text", "over the same tokens, in the same windows"),
        *_distance(found, "", "on the answers", answers),
    ]
    return table(
        "quality",
        "Against the unquantised engine" if has_reference else "Perplexity",
        ("Measure", "Value", "How"),
        rows if has_reference else [alone],
        words=("How",),
        note=found["caveat"],
    )


def quality_text(found: Mapping[str, Any]) -> str:
    """The text that perplexity is of, and its windows. found: a result's `quality`."""
    return (
        f"{count(found['perplexity_tokens'])} tokens of {found['perplexity_text'] or ABSENT}, "
        f"windows of {count(found['perplexity_window_tokens'])}"
    )


def _distance(
    found: Mapping[str, Any], prefix: str, where: str, how: str
) -> list[tuple[str, str, str]]:
    """KL and agreement, as stored under names with that prefix."""
    mean, p99 = found[f"{prefix}kl_mean"], found[f"{prefix}kl_p99"]
    agreement = found[f"{prefix}top1_agreement"]
    return [
        (f"KL divergence {where}, mean", quantity(mean, "nats"), how),
        (f"KL divergence {where}, p99", quantity(p99, "nats"), "the worst 1 % of these tokens"),
        (f"Top-1 agreement {where}", percent(agreement), "same next token as the reference"),
    ]


def glossary() -> Table:
    return table(
        "glossary",
        "What the terms mean",
        ("Term", "Formula", "Meaning"),
        [
            (term.label, term.formula or "—", term.meaning)
            for term in (*METRICS, *PARTS, *KV_STATES, *OTHER)
        ],
        words=("Formula", "Meaning"),
        note="Times of one request: due (when it should have been sent), send, scheduled (first "
        "worked on), first token, end; N output tokens, counted by the engine.",
    )


def _ms(value_s: float) -> str:
    return number(1e3 * value_s)


# What the slowest requests say of themselves: title, column of requests.parquet, and how it is
# shown.
_OF_A_REQUEST: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("Request", "request_id", str),
    ("Due (s)", "t_due_s", seconds_in),
    ("Tokens in", "input_tokens", count),
    ("Tokens out", "output_tokens", count),
    ("Queue (ms)", "queue_s", _ms),
    ("TTFT (ms)", "ttft_s", _ms),
    ("TPOT (ms)", "tpot_s", _ms),
    ("E2EL (ms)", "e2el_s", _ms),
    ("Preemptions", "preemptions", count),
    ("Recomputed", "recomputed_tokens", count),
)
