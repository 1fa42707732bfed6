"""A schedule as tables: a row a step, and a row for what became of each request."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.table import Table
from rich.text import Text

from .lines import events
from .result import Chunk, KVState, Outcome, Place, Schedule, Step


def steps_table(schedule: Schedule) -> Table:
    """What each step computed, who lost a place, who waits, and the KV cache. Steps that read the
    same share a row."""
    table = Table("step", "prefill", "decode", "events", "waiting", box=None, pad_edge=False)
    table.add_column(f"{schedule.kv_unit} of {schedule.kv_total}")
    table.add_column("where")
    table.columns[0].justify = "right"
    for _, alike in groupby(schedule.steps, lambda step: _cells(step, schedule.kv_unit)):
        same = list(alike)
        table.add_row(_span(same[0].index, same[-1].index), *_cells(same[0], schedule.kv_unit))
    return table


def requests_table(schedule: Schedule) -> Table:
    """When each request had its first token and its end, and what preemption cost it."""
    table = Table("request", box=None, pad_edge=False)
    for heading in ("arrives", "first token", "end", "longest gap"):
        table.add_column(heading, justify="right")
    for heading in ("preempted", "recomputed", "cached"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for one in schedule.requests:
        table.add_row(
            Text(one.request_id),
            str(one.arrival_step),
            _step(one.first_token_step),
            _step(one.end_step),
            _step(one.longest_gap_steps),
            str(one.preemptions),
            str(one.recomputed_tokens),
            str(one.cached_tokens),
            Text(_how_it_went(one)),
        )
    return table


def totals(schedule: Schedule) -> str:
    """One line to compare engines by."""
    steps = schedule.steps
    waits = [
        one.first_token_step - one.arrival_step + 1
        for one in schedule.requests
        if one.first_token_step is not None
    ]
    parts = [
        f"steps {len(steps)}",
        f"to the first token {sum(waits) / len(waits):.1f} on average" if waits else "",
        f"longest gap {max(one.longest_gap_steps or 0 for one in schedule.requests)}",
        f"preemptions {sum(one.preemptions for one in schedule.requests)}",
        f"tokens recomputed {sum(one.recomputed_tokens for one in schedule.requests)}",
    ]
    return ", ".join(part for part in parts if part)


def heading(schedule: Schedule) -> str:
    """`paged: separate, optimistic, paged 4; at most 8 sequences, 32 tokens a step`."""
    settings = schedule.settings
    batching = str(settings["batching"])
    if batching == "mixed":
        batching = f"mixed ({settings['mixing']})"
    kv = (
        f"paged {settings['block_size']}"
        if settings["kv"] == "paged"
        else f"contiguous {settings['kv_reservation']}"
    )
    cache = ", prefix cache" if settings["prefix_cache"] else ""
    return (
        f"{schedule.engine}: {batching}, {settings['admission']}, {kv}{cache}; at most "
        f"{settings['max_num_seqs']} sequences, {settings['max_num_batched_tokens']} tokens a step"
    )


def notes(schedule: Schedule) -> list[str]:
    """What the rows have no room for: why requests were refused, and an end that was no end."""
    found = [
        f"{one.request_id} refused, NEVER: {one.reason}"
        for one in schedule.requests
        if one.ending == "refused"
    ]
    if len(schedule.steps) == schedule.scenario.max_steps and any(
        one.ending == "unfinished" for one in schedule.requests
    ):
        found.append(f"stopped after max_steps ({schedule.scenario.max_steps})")
    return found


def _cells(step: Step, unit: str) -> tuple[Text, ...]:
    return (
        Text("\n".join(_prefill(one) for one in step.prefills), style="green"),
        Text(" ".join(one.request_id for one in step.decodes), style="cyan"),
        Text("\n".join(_events(step)), style="yellow"),
        Text(" ".join((*step.waiting, *(f"{name}(host)" for name in step.on_host)))),
        Text(_kv(step.kv, unit)),
        Text("  ".join(map(_place, step.kv.places)), style="dim"),
    )


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _prefill(chunk: Chunk) -> str:
    text = f"{chunk.request_id} {chunk.start}+{chunk.length}"
    notes = [
        f"{count} {word}"
        for count, word in ((chunk.cached_tokens, "cached"), (chunk.recomputed_tokens, "again"))
        if count
    ]
    return f"{text} ({', '.join(notes)})" if notes else text


def _events(step: Step) -> list[str]:
    arrived = [f"arrive {' '.join(step.arrived)}"] if step.arrived else []
    ended = [f"end {' '.join(step.ended)}"] if step.ended else []
    return [*arrived, *events(step), *ended]


def _kv(kv: KVState, unit: str) -> str:
    parts = [f"{kv.held} held", f"{kv.free} free"]
    if kv.cached:
        parts[-1] += f" ({kv.cached} cached)"
    for count, word in ((kv.shared, "shared"), (kv.copied, "copied")):
        if count:
            parts.append(f"{count} {word}")
    if kv.external and unit == "tokens":
        parts.append(f"{kv.external} in holes")
    return ", ".join(parts)


def _place(place: Place) -> str:
    if place.run is not None:
        start, length = place.run
        return f"{place.request_id} {start}-{start + length - 1}"
    return f"{place.request_id} {_ranges(place.blocks)}" if place.blocks else place.request_id


def _ranges(blocks: Sequence[int]) -> str:
    """`0-2,7` for 0, 1, 2, 7."""
    runs: list[list[int]] = []
    for block in blocks:
        if runs and block == runs[-1][-1] + 1:
            runs[-1].append(block)
        else:
            runs.append([block])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _step(step: int | None) -> str:
    return "-" if step is None else str(step)


def _how_it_went(one: Outcome) -> str:
    swaps = f", {one.swaps} swapped" if one.swaps else ""
    return f"{one.ending}{swaps}"
