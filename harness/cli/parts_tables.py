"""What a terminal shows of latencies split into parts."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from ...reports.format import Scale, addends, count, percent, quantity, scale_of
from ..attribution.explain import RequestParts, SlowestParts
from ..result import Attribution, Parts, SlowToken
from .console import foreign
from .tables import wide_console

COLUMNS = {
    "total_s": "measured",
    "queue_s": "queue",
    "own_prefill_s": "own prefill",
    "others_prefill_s": "others' prefill",
    "decode_s": "decode",
    "preemption_s": "preemption",
    "host_s": "host",
    "residual_s": "residual",
}
BANDS = {"mean": "mean", "p50": "around p50", "p99": "slowest 1 %", "slow": "slow"}
# Less is rounding.
_ROUNDING_S = 1e-9

Row = tuple[str, Parts]


def print_attribution(found: Attribution) -> None:
    """Means of a run: TTFT, TPOT and the gaps between tokens."""
    rows = [
        (f"ttft {BANDS[band.name]} [dim]({count(band.count)})[/]", band.parts)
        for band in found.ttft
    ]
    if found.tpot is not None:
        rows.append(("tpot mean", found.tpot))
    rows += [
        (f"token gaps {BANDS[band.name]} [dim]({count(band.count)})[/]", band.parts)
        for band in found.itl
    ]
    console = wide_console()
    console.print(_table("latency", rows))
    if found.slow_token_s is not None:
        console.print(
            f"\n[dim]A gap is slow beyond {quantity(found.slow_token_s, 's')}, twice the median.[/]"
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
    rows = [("ttft", found.ttft)]
    if found.tpot is not None:
        rows.append(("tpot mean", found.tpot))
    rows += [(_token_name(one), one.parts) for one in found.slow_tokens]
    console = wide_console()
    console.print(_table(foreign(found.request_id), rows))
    if found.slow_token_s is not None:
        console.print(
            f"\n[dim]{count(found.slow_gaps)} of its tokens came later than "
            f"{quantity(found.slow_token_s, 's')}, twice the run's median gap; "
            f"{count(len(found.slow_tokens))} shown.[/]"
        )


def print_slowest(found: SlowestParts) -> None:
    """The slowest requests and tokens of a run."""
    console = wide_console()
    console.print(
        _table("ttft", [(foreign(one.request_id), one.parts) for one in found.slowest_requests])
    )
    console.print()
    console.print(
        _table(
            "token gap",
            [
                (f"{foreign(one.request_id)} {_token_name(one)}", one.parts)
                for one in found.slowest_tokens
            ],
        )
    )


def _token_name(token: SlowToken) -> str:
    return f"token {count(token.token)} at {Scale('s').quantity(token.time_s)}"


def _table(heading: str, rows: Iterable[Row]) -> Table:
    """One unit a row, so that its parts can be compared by eye."""
    table = Table(heading, *(f"[dim]{name}[/]" for name in COLUMNS.values()), box=None)
    table.pad_edge = False
    for column in table.columns[1:]:
        column.justify = "right"
    for name, parts in rows:
        scale = scale_of("s", [parts.total_s])
        values_s = [getattr(parts, column) for column in COLUMNS]
        shown = [scale.factor * s if abs(s) > _ROUNDING_S else 0.0 for s in values_s]
        table.add_row(name, scale.quantity(parts.total_s), *addends(shown[0], shown[1:]))
    return table
