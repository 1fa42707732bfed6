"""What a terminal shows of a result: the numbers people look for first."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from ...reports.ablation_model import Ablation
from ...reports.ablation_report import nothing_told, simulated_text
from ...reports.ablation_tables import effects_table, left_out_table
from ...reports.facts import counted_as, unit_counted
from ...reports.format import Scale, count, plural, quantity, scale_of_typical
from ...reports.load_text import load_text
from ...reports.metric_tables import NOT_SHOWN
from ...reports.model import Table as ReportTable
from ...reports.tails import not_carried
from ..comparison.enough import SHORTEST_RUN_S
from ..result import Result
from .console import STYLES, TerminalConsole, foreign, numbers

_SENT = {"workload", "config"}
LATENCIES = ("ttft", "tpot", "itl", "icl", "e2el", "queue")
RATES = ("output_throughput", "total_throughput", "request_throughput", "goodput")
MACHINE_USE = ("mfu", "mbu", "energy_per_token", "cost_per_million_tokens")
_SHORT = {"energy_per_token": "energy", "cost_per_million_tokens": "cost"}
STATS = ("mean", "p50", "p90", "p99", "max")


def print_run(result: Result) -> None:
    """Counts, latencies, rates, memory, quality: a screen."""
    console = TerminalConsole()
    counters, config = result.counters, result.config
    cautions = [check for check in result.validity.failures if not check.fatal]
    state = "[yellow]valid, with cautions[/]" if cautions else "[green]valid[/]"
    if not result.validity.valid:
        state = "[bold red]NOT VALID[/]"
    console.print(
        f"[bold]{foreign(result.label)}[/]  {foreign(config['model'])}, {_where(result)}  {state}"
    )
    if (found := result.simulation) is not None:
        on = f"{found.devices} x {found.hardware}" if found.devices > 1 else found.hardware
        text = f"not measured: step times of {on}, {found.cost_model}; {found.error}"
        console.print(f"[yellow]simulated[/] {foreign(text)}", soft_wrap=True)
    for op, how in result.emulated.items():
        console.print(f"[yellow]emulated[/] {foreign(f'{op}: {how}')}", soft_wrap=True)
    served = f"{count(counters.requests_ok)} of {_asked(result)} served in "
    served += quantity(result.duration_s, "s")
    if counters.steps is not None:
        served += f", {plural(counters.steps, 'step')}, "
        served += plural(counters.preemptions or 0, "preemption")
    console.print(served)
    console.print(f"[dim]{foreign(load_text(result.model_dump(include=_SENT)))}[/]", soft_wrap=True)
    _print_target(console, result)
    console.print(_latencies(result))
    for name in RATES:
        if metric := result.metrics.get(name):
            unit = unit_counted(metric.unit, config)
            window, whole = metric.stats.get("window"), metric.stats.get("run")
            console.print(
                f"{name:20} {quantity(window, unit)}  [dim](whole run {quantity(whole, unit)})[/]"
            )
    _print_machine_use(console, result)
    _print_memory(console, result)
    _print_quality(console, result)
    for adjustment in result.workload.adjustments:
        console.print(f"[yellow]workload[/] {foreign(adjustment)}")
    for check in cautions:
        console.print(f"[yellow]caution[/] {foreign(check.told)}", soft_wrap=True)
    if result.simulation is None and result.duration_s < SHORTEST_RUN_S:
        console.print(
            f"[dim]to compare times with another run's takes {SHORTEST_RUN_S:g} s of each: more "
            "--num-requests[/]",
            soft_wrap=True,
        )


def _where(result: Result) -> str:
    if (target := result.target) is not None:
        return f"{foreign(target.endpoint)} of {foreign(target.base_url)}"
    dtype, device = result.config["dtype"], result.config.get("device")
    # Another library's engine chooses its device itself.
    return f"{dtype} on {foreign(device)}" if device else f"{dtype}, in this process"


def _print_target(console: TerminalConsole, result: Result) -> None:
    """Errors by label, and how far the client can be trusted."""
    if result.target is not None:
        if result.target.output_lengths == "at-most":
            console.print(
                f"{'output lengths':20} at most as planned: {result.target.ended_early} replies "
                f"ended early, {result.counters.output_tokens} of "
                f"{result.target.asked_output_tokens} tokens asked for came"
            )
        for label, failed in result.target.errors.items():
            console.print(f"[red]{failed} failed[/] by {foreign(label)}")
    if (client := result.client) is not None:
        console.print(
            f"{'client':20} {client.processes} x {quantity(client.cpu_share, 'share')} of a core; "
            f"p99 lag {quantity(client.loop_lag_p99_s, 's')} of its loop, "
            f"{quantity(client.send_lag_p99_s, 's')} of sends"
        )
    if (error := result.client_error) is not None:
        console.print(
            f"{'client error':20} ttft ± {quantity(error.ttft.p99_s, 's')}, "
            f"itl ± {quantity(error.itl.p99_s, 's')} (p99; "
            + (
                "its loop's lag in this run, more than "
                if error.widened
                else "at about this load, "
            )
            + f"calibrated {error.measured_at[:10]})"
        )


def _asked(result: Result) -> str:
    asked = result.workload.num_requests * int(result.config.get("samples") or 1)
    return plural(asked, *counted_as(result.config))


def _latencies(result: Result) -> Table:
    table = numbers("latency", *(f"[dim]{stat}[/]" for stat in STATS))
    # One row for both where they are the same.
    shown = [
        (name, metric)
        for name in LATENCIES
        if (metric := result.metrics.get(name)) and not (name == "icl" and result.has_token_chunks)
    ]
    rows = [[metric.stats.get(stat) for stat in STATS] for _, metric in shown]
    for (name, metric), values in zip(shown, rows, strict=True):
        scale = scale_of_typical(metric.unit, [metric.stats.get("p50")], values)
        if scale.unit == "µs" and any((value or 0.0) >= 1e-3 for row in rows for value in row):
            scale = Scale("ms", 1e3)  # as in the other rows
        label = "itl = icl" if name == "itl" and result.has_token_chunks else name
        beyond = not_carried(int(metric.stats.get("count", result.counters.requests_ok)))
        cells = (
            NOT_SHOWN if stat in beyond else scale.quantity(value)
            for stat, value in zip(STATS, values, strict=True)
        )
        table.add_row(label, *cells)
    return table


def _print_machine_use(console: TerminalConsole, result: Result) -> None:
    """Shares of the peaks, energy and cost; in a dim line what is not known, and why."""
    for name in MACHINE_USE:
        if (metric := result.metrics.get(name)) is not None:
            parts = [
                f"{which} {quantity(value, metric.unit)}" for which, value in metric.stats.items()
            ]
            console.print(f"{_SHORT.get(name, name):20} {', '.join(parts)}")
    reasons: dict[str, list[str]] = {}
    for name, why in result.absent.items():
        reasons.setdefault(why, []).append(_SHORT.get(name, name))
    for why, names in reasons.items():
        console.print(f"[dim]{', '.join(names):20} n/a: {foreign(why)}[/]", soft_wrap=True)


def _print_memory(console: TerminalConsole, result: Result) -> None:
    kv, memory = result.kv, result.memory
    if kv is None or memory is None:
        return
    waste = "n/a" if kv.waste_share is None else quantity(kv.waste_share, "share")
    console.print(
        f"{'kv cache':20} {waste} of what is held is waste; peak use "
        f"{quantity(kv.useful_tokens.peak, 'tokens')} of {quantity(kv.capacity_tokens, 'tokens')}"
    )
    console.print(
        f"{'memory':20} weights a step reads {quantity(memory.weight_bytes, 'bytes')}, "
        f"KV pool {quantity(memory.kv_bytes, 'bytes')}, "
        f"process {quantity(memory.peak_rss_bytes, 'bytes')}"
    )


def _print_quality(console: TerminalConsole, result: Result) -> None:
    quality = result.quality
    if quality is None or quality.perplexity is None:
        return
    text = f"{'quality':20} perplexity {quality.perplexity:.3f}"
    if quality.reference_perplexity is not None:
        text += f" (unquantised {quality.reference_perplexity:.3f})"
    console.print(text)
    for where, kl, same in (
        ("on the text", quality.text_kl_mean, quality.text_top1_agreement),
        ("on its answers", quality.kl_mean, quality.top1_agreement),
    ):
        if kl is not None and same is not None:
            console.print(
                f"{'':20} KL {kl:.4f} nats, same next token {quantity(same, 'share')} {where}"
            )
    if quality.caveat:
        console.print(f"[yellow]caveat[/] {foreign(quality.caveat)}")


def print_ablation(ablation: Ablation) -> None:
    """Main effects, then a sentence for each effect that holds; first of all, why there is none."""
    console = TerminalConsole()
    if ablation.simulated:
        console.print(f"[yellow]note[/] {foreign(simulated_text(ablation))}\n")
    if not ablation.sentences:
        console.print(f"[bold]{foreign(nothing_told(ablation))}[/]\n")
    console.print(_plain(effects_table(ablation)))
    console.print()
    for sentence in ablation.sentences:
        console.print(f"• {foreign(sentence)}")
    left_out = left_out_table(ablation)
    if left_out is not None:
        console.print(_plain(left_out))
    for note in ablation.notes:
        console.print(f"[yellow]note[/] {foreign(note)}")


def _plain(table: ReportTable) -> Table:
    """A table of a report on a terminal."""
    shown = Table(*(foreign(column.title) for column in table.columns), box=None, pad_edge=False)
    for row in table.rows:
        shown.add_row(*(Text(cell.text, style=STYLES[cell.tone]) for cell in row))
    return shown
