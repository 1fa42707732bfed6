"""The first screen of a run's report: whether to believe it, and the answer in words."""

from __future__ import annotations

from . import machine_use, server
from .facts import (
    client_error_s,
    counted_as,
    engine_name,
    failures,
    has_random_weights,
    may_end_early,
    replies_asked,
    simulated_on,
    slo_s,
    stat,
    tail_of,
    told,
    unit_counted,
)
from .format import count, duration, is_present, number, percent, plural, quantity, seconds, size
from .glossary import label_of
from .metric_tables import statistics_scale
from .model import Badge, KeyFigure, Note, Run

VALID = Badge("Valid", "✓", "good")
CAUTION = Badge("Valid, with cautions", "!", "caution")
INVALID = Badge("Invalid", "✕", "bad")
PARTIAL = Badge("Partial", "✕", "bad")
# No simulated run is simply valid: its checks passed, and yet nothing was measured.
SIMULATED = {
    VALID: Badge("Simulated", "≈", "caution"),
    CAUTION: Badge("Simulated, with cautions", "≈", "caution"),
    INVALID: Badge("Simulated, invalid", "✕", "bad"),
    PARTIAL: Badge("Simulated, partial", "✕", "bad"),
}
# Nor one of a model that says nothing: its speed was measured, and only that.
RANDOM_WEIGHTS = {
    VALID: Badge("Random weights", "≈", "caution"),
    CAUTION: Badge("Random weights, with cautions", "≈", "caution"),
}
# Those that a run has a tile for, where it has values: a reply of one token has no pace.
_LATENCIES = ("ttft", "tpot", "e2el")


def badge(run: Run) -> Badge:
    found = _validity(run)
    if has_random_weights(run):
        return RANDOM_WEIGHTS.get(found, found)
    return found if simulated_on(run) is None else SIMULATED[found]


def simulated_badge(*, cautions: bool) -> Badge:
    """Of what holds several simulated runs, as a run of them has it."""
    return SIMULATED[CAUTION if cautions else VALID]


def _validity(run: Run) -> Badge:
    if run.result["status"] == "partial":
        return PARTIAL
    if not run.result["validity"]["valid"]:
        return INVALID
    return CAUTION if failures(run) else VALID


def premise(run: Run) -> str:
    """Of a simulated run: that it is one, on what, priced how, and how wrong that may be."""
    machine = simulated_on(run)
    if machine is None:
        return ""
    found = run.result["simulation"]
    reached = ""
    if shares := found["efficiency"]:
        reached = (
            f", which takes kernels to reach {percent(shares['prefill'])} of peak arithmetic and "
            f"{percent(shares['decode'])} of peak bandwidth"
        )
    return (
        f"Simulated, not measured: no model ran. Step times are a cost model's of "
        f"{machine}{reached}. How wrong it may be: {found['error']}."
    )


def validity_notes(run: Run) -> tuple[Note, ...]:
    """Why a run must not be used, or what its numbers cannot carry."""
    notes: list[Note] = []
    if run.result["status"] == "partial":
        notes.append(
            Note(
                "This run is partial: it was interrupted. What it measured is an easier load than "
                "the one that was asked for; do not compare it.",
                "bad",
            )
        )
    if not run.result["validity"]["valid"]:
        notes.append(Note("This run is invalid: its numbers must not be used. What failed:", "bad"))
    for check in failures(run):
        tone = "bad" if check["fatal"] else "caution"
        notes.append(Note(f"{check['id'].replace('_', ' ').capitalize()}: {told(check)}.", tone))
    return tuple(notes)


def caveats(run: Run) -> tuple[Note, ...]:
    """What a reader must know beside the numbers, though nothing is wrong."""
    result = run.result
    notes: list[Note] = []
    if has_random_weights(run):
        notes.append(
            Note(
                "The model's weights are random (load_format: dummy), so its speed means "
                "something and its output nothing: no quality was measured.",
                "caution",
            )
        )
    for op, how in result.get("emulated", {}).items():
        notes.append(
            Note(
                f"Emulated: this device has no such arithmetic. In {op}, {how}. The speed says "
                "nothing about hardware that has it; the quality is the method's own.",
                "caution",
            )
        )
    if (target := result.get("target")) is not None:
        notes.append(server.note(run, target))
        if (lengths := server.lengths(run, target)) is not None:
            notes.append(lengths)
    if result.get("quality") and result["quality"]["caveat"]:
        notes.append(Note(f"Quality: {result['quality']['caveat']}"))
    adjustments = result["workload"]["adjustments"]
    if adjustments:
        notes.append(Note(f"The workload was adjusted: {'; '.join(adjustments)}."))
    if result["config"].get("stands_for"):
        notes.append(
            Note(f"“{result['config']['engine']}” stands for {result['config']['stands_for']}.")
        )
    return tuple(notes)


def verdict(run: Run) -> str:
    """The run in one sentence."""
    counters = run.result["counters"]
    parts = [
        f"{engine_name(run)} served {count(counters['requests_ok'])} of "
        f"{plural(replies_asked(run), *counted_as(run.result['config']))}, "
        f"{quantity(throughput(run), 'output tokens/s')}"
    ]
    if may_end_early(run):
        tokens = server.tokens_text(run, run.result["target"])
        parts.append(f"its replies could end early and came to {tokens} asked for")
    if (median := stat(run, "ttft", "p50")) is not None:
        tail = tail_of(run, "ttft")
        text = f"TTFT p50 {seconds(median)}, {tail.name} {seconds(tail.value_s)}"
        parts.append(f"{text} ({tail.lacking})" if tail.lacking else text)
    waste = (run.result["kv"] or {}).get("waste_share")
    if waste is not None:
        parts.append(f"{percent(waste)} of the KV memory taken was waste")
    return "; ".join(parts) + "."


def statements(run: Run) -> tuple[str, ...]:
    """Sentences that complete the verdict."""
    sentences = [_rate_sentence(run)]
    share = stat(run, "goodput_share", "run")
    if share is not None:
        limits = " and ".join(f"{label_of(m)} ≤ {seconds(s)}" for m, s in slo_s(run).items())
        sentences.append(f"{percent(share)} of the {_many(run)} met the SLO ({limits}).")
    counters = run.result["counters"]
    if counters["preemptions"]:
        sentences.append(
            f"{plural(counters['preemptions'], 'preemption')} made the engine compute "
            f"{plural(counters['recomputed_tokens'], 'token')} again."
        )
    if (quality := _quality_sentence(run)) is not None:
        sentences.append(quality)
    return tuple(sentences)


def _many(run: Run) -> str:
    return counted_as(run.result["config"])[1]


def _rate_sentence(run: Run) -> str:
    window, length = run.result["window"], duration(run.result["duration_s"])
    if window["steady"]:
        span = f"{number(window['start_s'])}–{number(window['end_s'])} s"
        return f"The run took {length}; rates are over its steady window, {span}."
    return f"The run took {length}; no steady window was found, so rates are over the whole run."


def _quality_sentence(run: Run) -> str | None:
    found = run.result.get("quality")
    if found is None or found["perplexity"] is None:
        return None
    own, reference = found["perplexity"], found["reference_perplexity"]
    if reference is None:
        return f"Perplexity is {number(own)}."
    change = percent(abs(own / reference - 1))
    direction = "above" if own >= reference else "below"
    text = f"Perplexity is {number(own)}, {change} {direction} the unquantised {number(reference)}"
    agreed = [
        f"{percent(share)} of {whose}"
        for share, whose in (
            (found.get("text_top1_agreement"), "the text's tokens"),
            (found["top1_agreement"], "the answers' tokens"),
        )
        if share is not None
    ]
    if agreed:
        text += f"; both pick the same next token for {' and '.join(agreed)}"
    return f"{text}."


def throughput(run: Run) -> float | None:
    """Output tokens a second over the steady window, or the whole run where there is none."""
    return stat(run, "output_throughput", "window")


def key_figures(run: Run) -> tuple[KeyFigure, ...]:
    result = run.result
    where = "steady window" if result["window"]["steady"] else "whole run"
    counters = result["counters"]
    figures = [
        KeyFigure("Output throughput", number(throughput(run)), "tokens/s", where),
        *(_latency(run, one) for one in _LATENCIES if stat(run, one, "p50") is not None),
        *_attainment(run),
        KeyFigure(
            f"{_many(run).capitalize()} served",
            count(counters["requests_ok"]),
            f"of {count(replies_asked(run))}",
            ", ".join(
                f"{count(counters[f'requests_{end}'])} {end}"
                for end in ("refused", "failed", "unfinished")
                if counters[f"requests_{end}"]
            ),
        ),
        *_room(run),
    ]
    figures += machine_use.key_figures(run)
    found = result.get("quality")
    if found is not None and found["perplexity"] is not None:
        beside = found["reference_perplexity"]
        detail = f"unquantised {number(beside)}" if is_present(beside) else ""
        figures.append(KeyFigure("Perplexity", number(found["perplexity"]), "", detail))
    return tuple(figures)


def _attainment(run: Run) -> tuple[KeyFigure, ...]:
    """How many requests kept the limits; nothing of a run without any."""
    share = stat(run, "goodput_share", "run")
    if share is None:
        return ()
    unit = unit_counted("requests/s", run.result["config"])
    rate = quantity(stat(run, "goodput", "window"), unit)
    return (KeyFigure.of("SLO attainment", percent(share), f"goodput {rate}"),)


def _room(run: Run) -> tuple[KeyFigure, ...]:
    """What memory was used for; nothing of a server, which keeps that to itself."""
    kv, memory = run.result["kv"], run.result["memory"]
    if kv is None or memory is None:
        return ()
    peak = memory["peak_rss_bytes"]
    return (
        KeyFigure.of(
            "KV waste",
            percent(kv["waste_share"]),
            f"of room taken; pool {size(kv['capacity_bytes'])}",
        ),
        KeyFigure.of(
            "Weights a step reads",
            size(memory["weight_bytes"]),
            f"process peak {size(peak)}" if is_present(peak) else "",
        ),
    )


def _latency(run: Run, metric: str) -> KeyFigure:
    tail, scale = tail_of(run, metric), statistics_scale(run, metric)
    detail = f"{tail.name} {scale.quantity(tail.value_s)}"
    if (error_s := client_error_s(run, metric)) is not None:
        detail += f"; client ± {scale.quantity(error_s)}"
    return KeyFigure.of(f"{label_of(metric)} p50", scale.quantity(stat(run, metric, "p50")), detail)
