"""What a terminal shows of latencies split into parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from ...reports.format import Scale, count, percent, quantity
from ...reports.latency_parts import ROUNDING_S, quantities
from ..attribution.explain import RequestParts, SlowestParts
from ..result import Attribution, Band, Parts, SlowToken
from .console import TerminalConsole, foreign

# A heading in two lines where one would be wider than the numbers below it.
PARTS = {
    "queue_s": "queue",
    "own_prefill_s": "own\nprefill",
    "others_prefill_s": "others'\nprefill",
    "decode_s": "decode",
    "preemption_s": "preemp-\ntion",
    "host_s": "host",
    "residual_s": "residual",
}
BANDS = {"mean": "mean", "p50": "around p50", "p99": "slowest 1 %", "slow": "slow"}


@dataclass(frozen=True)
class _Row:
    """name: which latency. beside: how many of them, or when it was."""

    name: str
    parts: Parts
    beside: str = ""


def print_attribution(found: Attribution) -> None:
    """Means of a run: TTFT, TPOT and the gaps between tokens."""
    rows = [_band("ttft", band) for band in found.ttft]
    if found.tpot is not None:
        rows.append(_Row("tpot mean", found.tpot))
    rows += [_band("itl", band) for band in found.itl]
    console = TerminalConsole()
    _print(console, ("latency", "count"), rows)
    if found.slow_token_s is not None:
        console.print(
            f"\n[dim]A gap between tokens (itl) is slow beyond {quantity(found.slow_token_s, 's')},"
            " twice the median.[/]"
        )
    console.print(
        f"{percent(found.mixed_step_share)} of the steps held prefill and decode; "
        f"{percent(found.delayed_decode_step_share)} of the steps with decodes were delayed by "
        "another request's prefill."
    )
    measured, by_tokens = found.mixed_steps_by_evidence, found.mixed_steps_by_tokens
    if measured or by_tokens:
        console.print(
            f"[dim]Mixed steps told apart by decode-only steps of similar width: "
            f"{count(measured)}; by tokens, for want of such steps: {count(by_tokens)}.[/]"
        )


def print_request(found: RequestParts) -> None:
    """One request: its first token, its pace, its slow tokens."""
    rows = [_Row("ttft", found.ttft)]
    if found.tpot is not None:
        rows.append(_Row("tpot mean", found.tpot))
    rows += [_Row(_number(one), one.parts, _moment(one)) for one in found.slow_tokens]
    console = TerminalConsole()
    _print(console, (found.request_id, "at"), rows)
    if found.slow_token_s is not None:
        console.print(
            f"\n[dim]{count(found.slow_gaps)} of its tokens came later than "
            f"{quantity(found.slow_token_s, 's')}, twice the run's median gap; "
            f"{count(len(found.slow_tokens))} shown.[/]"
        )


def print_slowest(found: SlowestParts) -> None:
    """The slowest requests and tokens of a run."""
    console = TerminalConsole()
    _print(
        console, ("ttft", ""), [_Row(one.request_id, one.parts) for one in found.slowest_requests]
    )
    console.print()
    _print(
        console,
        ("itl", "at"),
        [
            _Row(f"{one.request_id} {_number(one)}", one.parts, _moment(one))
            for one in found.slowest_tokens
        ],
    )


def _band(latency: str, band: Band) -> _Row:
    return _Row(f"{latency} {BANDS[band.name]}", band.parts, count(band.count))


def _number(token: SlowToken) -> str:
    return f"token {count(token.token)}"


def _moment(token: SlowToken) -> str:
    return Scale("s").quantity(token.time_s)


def _print(console: TerminalConsole, titles: tuple[str, str], rows: Sequence[_Row]) -> None:
    """Where the terminal is too narrow for all, without the parts that no row has, and closer."""
    some = {
        name: title for name, title in PARTS.items() if any(_has(row.parts, name) for row in rows)
    }
    unbounded = console.options.update_width(10_000)
    for parts, close in ((PARTS, False), (some, False), (some, True)):
        table = _table(titles, rows, parts)
        table.collapse_padding = close
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    console.print(table)
    if absent := [name.removesuffix("_s").replace("_", " ") for name in PARTS if name not in parts]:
        console.print(f"[dim]0 in every row: {', '.join(absent)}[/]")


def _has(parts: Parts, name: str) -> bool:
    return abs(getattr(parts, name)) > ROUNDING_S


def _table(titles: tuple[str, str], rows: Sequence[_Row], parts: Mapping[str, str]) -> Table:
    name, beside = titles
    has_beside = any(row.beside for row in rows)
    table = Table(box=None, pad_edge=False)
    # The one column that may be broken: names of requests are a server's, and as long as it likes.
    table.add_column(_last_line(foreign(name)), overflow="fold")
    heads = (*((beside,) if has_beside else ()), "measured", *parts.values())
    for head in heads:
        table.add_column(_last_line(f"[dim]{head}[/]"), justify="right", no_wrap=True)
    for row in rows:
        measured, *each = quantities(row.parts.model_dump())
        table.add_row(
            foreign(row.name),
            *((f"[dim]{row.beside}[/]",) if has_beside else ()),
            measured,
            *(text for part, text in zip(PARTS, each, strict=True) if part in parts),
        )
    return table


def _last_line(head: str) -> str:
    """A heading of one line beside others of two."""
    return head if "\n" in head else f"\n{head}"
