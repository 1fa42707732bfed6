"""What a terminal is told of capacities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from rich.table import Table

from ...reports.comparison_tables import ratio_text
from ...reports.format import number, quantity, scale_of
from ...reports.glossary import label_of
from ...workloads.scaled import Arriving
from ..metrics import CostPerMillionTokens
from ..rate_search.bracket import Search, Tried
from ..result import Result
from ..simulation.capacity_goal import CapacityGoal
from ..simulation.capacity_order import Order
from ..simulation.simulated_capacity import EngineCapacity
from ..stats.proportion import fewest_to_show
from .console import TerminalConsole, foreign, numbers

# Of arrivals that last fewer mean lives than this, many meet an engine that is filling up.
BURST_LIVES = 10.0
_LIVES: Mapping[Arriving, str] = {
    "requests": "mean latencies",
    "sessions": "times as long as a session",
}
_AT_ONCE: Mapping[Arriving, str] = {
    "requests": "all requests sent at once",
    "sessions": "all sessions begun at once, each turn after the reply before it",
}
SAME: Mapping[Arriving, str] = {
    "requests": "Every rate was sent the same requests in the same order; only the gaps between "
    "them change.",
    "sessions": "Every rate was sent the same sessions in the same order; only the gaps between "
    "their beginnings change. Later turns wait for replies and think times.",
}


def print_capacities(
    found: Sequence[EngineCapacity], goal: CapacityGoal, ordered: Sequence[Order] = ()
) -> None:
    """A sentence an engine, the rates that were tried if it is one, and a table of all."""
    console = TerminalConsole()
    for text in dict.fromkeys(one.setting for one in found if one.setting):
        console.print(foreign(text))
    for one in found:
        console.print(f"[bold]{foreign(one.config.label)}[/]  {foreign(sentence(one, goal))}")
        for text in notes(one):
            console.print(f"[yellow]note[/] {foreign(text)}")
    for text in dict.fromkeys(text for one in found for text in one.adjustments):
        console.print(f"[yellow]note[/] {foreign(text)}")
    for one in ordered:
        style = "yellow" if one.is_noise else "dim"
        console.print(f"[{style}]order[/] {foreign(order_sentence(one))}")
    console.print()
    if len(found) == 1:
        console.print(_trials(found[0].search, found[0].arriving))
        console.print()
    console.print(_compared(found))
    for text in dict.fromkeys(filter(None, map(unshown, found))):
        console.print(f"[dim]? {foreign(text)}[/]")
    console.print(f"\n{SAME[found[0].arriving]}")
    for error in dict.fromkeys(one.error for one in found):
        console.print(f"[yellow]simulated[/] {foreign(error)}")


def sentence(one: EngineCapacity, goal: CapacityGoal) -> str:
    """The answer in words."""
    what, search = asked(goal), one.search
    if search.outcome == "always":
        return f"holds {what} at any rate, {more(one, goal)}"
    if search.holds is None:
        return f"holds {what} at no rate: {more(one, goal)}"
    return (
        f"holds {what} up to {rate(search.holds, one.arriving)} (95 %: {interval_text(one)})"
        f"{_unshown(one)}{_if_too_short(one)}; {_fails(one, goal)}"
    )


def more(one: EngineCapacity, goal: CapacityGoal) -> str:
    """What `sentence` says beyond `asked` and `how_far`."""
    if one.search.outcome == "always":
        return f"even with {_AT_ONCE[one.arriving]}"
    if one.search.holds is None:
        return _fails(one, goal)
    return f"95 %: {interval_text(one)}{_if_too_short(one)}; {_fails(one, goal)}"


def _fails(one: EngineCapacity, goal: CapacityGoal) -> str:
    """The lowest rate that does not hold, and what is missed there."""
    fails = one.search.fails
    assert fails is not None
    kept = quantity(fails.attained, "share")
    return f"at {rate(fails, one.arriving)} {kept} keep it ({_missed(one, goal)})"


def asked(goal: CapacityGoal) -> str:
    """What is to hold, and for how many."""
    limits = " and ".join(
        f"{label_of(metric)} ≤ {quantity(s, 's')}" for metric, s in goal.slo_s.items()
    )
    return f"{limits} for {quantity(goal.attainment, 'share')} of the requests"


def how_far(one: EngineCapacity) -> str:
    """Up to which rate, and no more: what a headline has room for."""
    if one.search.outcome == "always":
        return "at any rate"
    if one.search.holds is None:
        return "at no rate"
    return f"up to {rate(one.search.holds, one.arriving)}{_unshown(one)}"


def _if_too_short(one: EngineCapacity) -> str:
    """What is left of the answer if the simulation errs as it did where it was checked: a limit is
    met by a hair at capacity."""
    if not one.if_too_short:
        return ""
    (least, some), (most, fewer) = one.if_too_short[0], one.if_too_short[-1]
    first, last = (number(at) if at else "none that was tried" for at in (some, fewer))
    shares = f"{100 * least:.0f} % too short, {last} if {100 * most:.0f} %"
    if first == last:
        shares = f"{100 * least:.0f} to {100 * most:.0f} % too short"
    return f"; {first} if latencies are {shares}, as they were on an H100"


def _unshown(one: EngineCapacity) -> str:
    """As `unshown`, to follow the rate in a sentence."""
    text = unshown(one)
    return f", {text}" if text else ""


def unshown(one: EngineCapacity) -> str:
    """What the rate is not, beside it; the notes say why. Empty where it is what was asked for."""
    if _is_burst(one):
        return "in a burst: not shown for a lasting load"
    return "in this run: too few requests to show it" if _are_few(one) else ""


def _is_burst(one: EngineCapacity) -> bool:
    return one.burst is not None and one.burst < BURST_LIVES


def _are_few(one: EngineCapacity) -> bool:
    """Whether no share of them, not even all, would show that the target is kept."""
    fewest = fewest_to_show(one.search.target)
    return one.search.outcome == "found" and one.effective < (fewest or math.inf)


def interval_text(one: EngineCapacity) -> str:
    """Arrivals a second, without the unit: "22.1 to 28.0"."""
    low, high = one.interval_per_s
    if math.isinf(low):
        return "any rate"
    if math.isinf(high):
        return "not known" if low == 0 else f"{number(low)} or more"
    return f"at most {number(high)}" if low == 0 else f"{number(low)} to {number(high)}"


def order_sentence(order: Order) -> str:
    """Whether one engine is ahead of another, and what says so."""
    at = f"at {quantity(order.rate_per_s, f'{order.arriving}/s')}"
    if math.isinf(order.rate_per_s):
        at = f"with {_AT_ONCE[order.arriving]}"
    if order.only_first + order.only_second == 0:
        return f"{order.first} and {order.second}: {at} the same requests keep the SLO with both"
    split = (
        f"{at}, {order.only_first} requests keep the SLO with {order.first} alone and "
        f"{order.only_second} with {order.second} alone (p = {number(order.p)})"
    )
    if order.is_noise:
        return (
            f"{order.first} and {order.second} cannot be told apart: {split}; raise --num-requests"
        )
    return f"{order.first} holds more than {order.second}: {split}"


def _missed(one: EngineCapacity, goal: CapacityGoal) -> str:
    """Which limits are not kept, and by how much."""
    parts = [
        f"{label_of(limit.metric)}: {quantity(goal.attainment, 'share')} stay within "
        f"{quantity(limit.reached_s, 's')}, "
        f"{ratio_text(limit.reached_s / limit.limit_s)}× the limit"
        for limit in one.limits
        if limit.reached_s > limit.limit_s
    ]
    if one.refused:
        parts.append(f"a request was refused: {one.refused}")
    return "; ".join(parts) or "the limits together: different requests miss different ones"


def notes(one: EngineCapacity) -> list[str]:
    """What the answer cannot carry."""
    search = one.search
    found = [
        f"attainment does not simply fall with the rate: {rate(trial, one.arriving)} "
        f"{'holds' if trial.attained >= search.target else 'does not hold'} "
        f"({quantity(trial.attained, 'share')})"
        for trial in search.exceptions
    ]
    if _is_burst(one):
        found.append(
            f"arrivals lasted only {one.burst:.1f} {_LIVES[one.arriving]}: the capacity of a "
            "burst; raise --num-requests for that of a lasting load"
        )
    if _are_few(one):
        what = "requests" if len(one.kept) == one.num_requests else "replies"
        found.append(
            f"{one.judged} {what} count as {math.floor(one.effective)} that do not wait for each "
            f"other, too few to show that {quantity(search.target, 'share')} keep the SLO at any "
            f"rate{_enough(fewest_to_show(search.target))}"
        )
    failures = one.run.result.validity.failures if one.run else ()
    return found + [f"{check.detail} (the run at capacity)" for check in failures]


def _enough(fewest: int | None) -> str:
    """What would do. No number of requests is named: nearer to what an engine sustains requests
    wait for each other for longer, so that three times as many may count as no more."""
    if fewest is None:
        return ": no number shows that all do"
    return f"; it takes {fewest}: send several times as many (--num-requests)"


def rate(trial: Tried, of: Arriving) -> str:
    if math.isinf(trial.rate_per_s):
        return "all at once"
    return quantity(trial.rate_per_s, f"{of}/s")


def _trials(search: Search, of: Arriving) -> Table:
    table = numbers("rate", "kept the SLO", "")
    for trial in search.trials:
        holds = trial.attained >= search.target
        mark = "[green]holds[/]" if holds else "[red]does not hold[/]"
        table.add_row(rate(trial, of), quantity(trial.attained, "share"), mark)
    return table


def _compared(found: Sequence[EngineCapacity]) -> Table:
    """A column an engine: 80 of a terminal's have room for four."""
    results = [one.run.result if one.run else None for one in found]
    table = numbers("", *(foreign(one.config.label) for one in found))
    # All are sent the same workload.
    of = found[0].arriving
    table.add_row(f"capacity, {of}/s", *map(_capacity_text, found))
    table.add_row("  95 % interval", *map(interval_text, found))
    if of == "sessions":
        table.add_row("  in requests/s", *(_or_any(one.requests_per_s) for one in found))

    def row(title: str, unit: str, value_of: Callable[[Result], float | None]) -> None:
        values = [None if one is None else value_of(one) for one in results]
        scale = scale_of(unit, values)
        name = f"{title}, {scale.unit}" if scale.unit else title
        table.add_row(name, *map(scale.number, values))

    # Without a steady window the end is in a rate, where nothing arrives any more.
    drained = any(one is not None and not one.window.steady for one in results)
    title = "whole run, tokens/s" if drained else "output, tokens/s"
    row(title, "", lambda one: one.stat("output_throughput", "window"))
    row("TTFT p99", "s", lambda one: one.stat("ttft", "p99"))
    row("TPOT p99", "s", lambda one: one.stat("tpot", "p99"))
    row("KV peak", "share", _kv_peak)
    row("preemptions", "", lambda one: one.counters.preemptions)
    if any(one.config.price_per_hour is not None for one in found):
        row("cost, 1 M tokens out", "", lambda one: one.stat(CostPerMillionTokens.id, "output"))
    table.add_row("binds", *(foreign(_binds(one)) for one in found))
    return table


def _capacity_text(one: EngineCapacity) -> str:
    return _or_any(one.capacity_per_s) + ("\u00a0?" if unshown(one) else "")


def _or_any(rate_per_s: float) -> str:
    return "any" if math.isinf(rate_per_s) else number(rate_per_s)


def _kv_peak(result: Result) -> float:
    assert result.kv is not None, "capacity is searched for in process"
    return result.kv.useful_tokens.peak / result.kv.capacity_tokens


def _binds(one: EngineCapacity) -> str:
    return " and ".join(one.binds) or ("refusals" if one.refused else "nothing")
