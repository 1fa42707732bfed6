"""How a workload looks on a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

from rich.table import Table

from ...reports.comparison_tables import ratio_text
from ...reports.format import count, number, percent, plural
from ...workloads.api import PlannedRequest
from ...workloads.fitting import FittedWorkload
from ...workloads.preview import Lengths, Preview
from ...workloads.sharing import SHARING_BLOCK_TOKENS
from ...workloads.spec import WorkloadSpec
from .console import TerminalConsole, foreign

PLOT_FORMATS = (".png", ".svg", ".pdf")
_BARS = " ▁▂▃▄▅▆▇█"
_PROMPT_CHARACTERS = 160
_PROMPT_TOKENS = 60


def print_preview(spec: WorkloadSpec, seen: Preview, fingerprint: str) -> None:
    """The first screen: what, how much, when, how long, what is shared."""
    console = TerminalConsole(soft_wrap=True)
    console.print(f"[bold]{foreign(spec.name)}[/]  {foreign(spec.description)}")
    for name, text in (*_facts(spec, seen), ("fingerprint", fingerprint[:16])):
        console.print(f"[dim]{name:<12}[/] {foreign(text)}")
    if seen.rates_per_s:
        peak = max(seen.rates_per_s)
        console.print(
            f"\n{seen.arriving} a second, bins of {number(seen.bin_s)} s, up to {number(peak)}/s"
        )
        console.print(f"│{bars(seen.rates_per_s)}│")
        console.print(f"[dim] 0 s{_end_label(len(seen.rates_per_s), seen.due_to_s or 0.0)}[/]")
    lengths = Table("tokens", box=None, pad_edge=False, header_style="bold")
    for name in ("mean", "p10", "p50", "p90", "p99", "min", "max", "total"):
        lengths.add_column(name, justify="right")
    for side, found in (("input", seen.input), ("output", seen.output)):
        lengths.add_row(side, *_row(found))
    console.print()
    console.print(lengths)
    for adjustment in seen.adjustments:
        console.print(f"[yellow]adjusted[/] {foreign(adjustment)}")


def bars(values: Sequence[float]) -> str:
    """A character a value, as high as its share of the largest; only 0 is empty."""
    top, steps = max(values), len(_BARS) - 1
    return "".join(_BARS[math.ceil(value / top * steps)] if value > 0 else " " for value in values)


def print_prompts(requests: Sequence[PlannedRequest], decode: Callable[..., str]) -> None:
    """How the first prompts begin, as text."""
    console = TerminalConsole(soft_wrap=True)
    for one in requests:
        text = decode(one.prompt_token_ids[:_PROMPT_TOKENS], skip_special_tokens=False)
        words = " ".join(text.split())
        shown = words[:_PROMPT_CHARACTERS]
        if len(words) > len(shown) or len(one.prompt_token_ids) > _PROMPT_TOKENS:
            shown += " …"
        after = "" if one.after is None else f", after {one.after}"
        size = f"{len(one.prompt_token_ids)} tokens in, {one.output_tokens} out{after}"
        console.print(f"\n[dim]request {one.index}: {size}[/]\n  {foreign(shown)}")


def print_too_long(spec: WorkloadSpec, too_long: int, of: int, longest: int) -> None:
    """That a run of the default model would not send this: it is what was looked at, unasked."""
    console = TerminalConsole(soft_wrap=True)
    are = "is" if too_long == 1 else "are"
    does = "cuts them short" if spec.fit == "clip" else "refuses them"
    console.print(
        f"\n[yellow]note[/] {count(too_long)} of {plural(of, 'request')} {are} longer than the "
        f"bundled model takes ({count(longest)} tokens, prompt and output together): a run with it "
        f"{does}; --model shows what another is sent, --max-input-len and --max-output-len cap them"
    )


def print_fit(fitted: FittedWorkload) -> None:
    """Trace against fit, on standard error, so that the YAML can be piped."""
    console = TerminalConsole(file=sys.stderr, soft_wrap=True)
    table = Table("", box=None, pad_edge=False, header_style="bold")
    for name in ("trace", "fit", "fit / trace"):
        table.add_column(name, justify="right")
    for one in fitted.compared:
        # A ratio to what is nearly nothing says nothing.
        ratio = f"{ratio_text(one.fit / one.trace)}×" if abs(one.trace) > 0.01 else ""
        table.add_row(foreign(one.name), number(one.trace), number(one.fit), ratio)
    console.print(table)
    for note in fitted.notes:
        console.print(f"[dim]{foreign(note)}[/]")


def _facts(spec: WorkloadSpec, seen: Preview) -> list[tuple[str, str]]:
    samples = f", {count(seen.samples)} replies each" if seen.samples > 1 else ""
    facts = [("requests", f"{count(seen.requests)}{samples}"), ("arrivals", _arrivals(spec, seen))]
    if seen.sessions < seen.requests:
        think = f", {number(seen.think_s_mean)} s of thought between" if seen.think_s_mean else ""
        turns = f"{number(seen.turns_mean)} turns each, {count(seen.turns_max)} at most{think}"
        facts.append(("sessions", f"{count(seen.sessions)}: {turns}"))
    chats = f", {count(seen.chats)} as chats" if seen.chats else ""
    facts.append(("prompts", f"{spec.prompts.kind}{chats}"))
    shared = (
        f"{percent(seen.shared_share)} of prompt tokens are in whole blocks of "
        f"{SHARING_BLOCK_TOKENS} that an earlier prompt began with"
    )
    facts.append(("shared", shared))
    return facts


def _arrivals(spec: WorkloadSpec, seen: Preview) -> str:
    kind = spec.arrivals.kind.replace("_", " ")
    cap = seen.max_concurrency
    if spec.arrivals.kind == "closed_loop":
        return f"{kind} of {cap}"
    held = f", at most {cap} in flight" if cap else ""
    if seen.burstiness is None:
        return f"{kind}{held}"
    found = seen.burstiness
    dispersion = ", ".join(
        f"{number(value)} at {number(w)} s" for w, value in found.dispersion.items()
    )
    lasting = f", dispersion {dispersion}" if dispersion else ""
    of = " sessions" if seen.arriving == "sessions" else ""
    rate = _rate(getattr(spec.arrivals, "rate_per_s", None), found.rate_per_s, seen, of)
    return f"{kind}, {rate}, CV of gaps {number(found.gap_cv)}{lasting}{held}"


def _rate(asked_per_s: float | None, seen_per_s: float, seen: Preview, of: str) -> str:
    """What is asked for and what these come to, which of few at random is another number. of: what
    arrives, where that is not requests."""
    come = f"{number(seen_per_s)}{of}/s"
    if asked_per_s is None or number(asked_per_s) == number(seen_per_s):
        return come
    drawn = count(seen.sessions if of else seen.requests)
    what = of.strip() or "requests"
    return f"{number(asked_per_s)}{of}/s asked for, of which these {drawn} {what} come at {come}"


def _row(lengths: Lengths) -> list[str]:
    values = (lengths.mean, lengths.p10, lengths.p50, lengths.p90, lengths.p99)
    whole = (lengths.min, lengths.max, lengths.total)
    return [count(value) for value in (*values, *whole)]


def _end_label(width: int, end_s: float) -> str:
    return f"  {number(end_s)} s".rjust(width - 2)
