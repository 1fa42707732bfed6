"""What people say of quantisation, held against what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...reports.claims_model import verdict_of
from ...reports.format import as_sentence, number, percent
from ...reports.frontier_model import (
    KL,
    PERPLEXITY,
    FrontierClaim,
    FrontierMethod,
    MethodPair,
    between,
)
from ...reports.model import Ratio
from .methods import PLAIN, RIVALS, family
from .turning_points import AtBatch1

DOUBLE = 2.0
# A method is free of a cost in quality if it raises perplexity by no more than this.
FREE_PERPLEXITY = 0.01
FREE_SPEED = 0.98
# Times the text that was read: of still more it is not said that it might decide.
_MOST_TEXT = 20


def claims(
    methods: Sequence[FrontierMethod],
    batch_1: Mapping[str, AtBatch1],
    pairs: Sequence[MethodPair] = (),
) -> tuple[FrontierClaim, ...]:
    """About every method that a claim is about, of those that count.

    pairs: methods beside each other. batch_1: by method; empty where no steps were measured.
    """
    by_name = {one.name: one for one in methods if one.counts}
    plain = by_name.get(PLAIN)
    found: list[FrontierClaim] = []
    if plain is not None:
        for one in by_name.values():
            if family(one.name) == "int4":
                found.append(doubles(one, plain, batch_1.get(one.name)))
            if family(one.name) == "fp8":
                found.append(is_free(one, plain))
    if all(name in by_name for name in RIVALS):
        one, other = (by_name[name] for name in RIVALS)
        found.append(beats(one, other, between(pairs, one.name, other.name)))
    return tuple(found)


def doubles(
    method: FrontierMethod, plain: FrontierMethod, batch_1: AtBatch1 | None
) -> FrontierClaim:
    """Weight-only INT4 doubles throughput: at batch 1, and in this run."""
    parts: list[tuple[bool | None, str]] = []
    if batch_1 is not None:
        text = f"a decode step at batch 1 is {_times(batch_1.speed_up)}"
        lowest, highest = _times(batch_1.lowest), _times(batch_1.highest)
        if lowest != highest:
            text += f" (passes from {lowest} to {highest})"
        parts.append((_all_passes_double(method, batch_1), text + _emulated(method)))
    if method.throughput_ratio is not None:
        load = ""
        if method.batch_requests is not None:
            load = f" ({number(method.batch_requests)} requests a step on average)"
        text = f"this run's output throughput{load} is {_ratio(method.throughput_ratio)}"
        text += _emulated(method)
        parts.append((_reaches(method, plain, DOUBLE), text))
    return FrontierClaim(
        "INT4 weights double throughput",
        verdict_of([held for held, _ in parts]),
        as_sentence(_evidence(parts) or "no speed was measured beside the unquantised model"),
        method.name,
    )


def is_free(method: FrontierMethod, plain: FrontierMethod) -> FrontierClaim:
    """FP8 is free: it costs neither quality nor speed."""
    parts: list[tuple[bool | None, str]] = []
    if method.perplexity is not None and plain.perplexity is not None:
        change = method.perplexity / plain.perplexity - 1
        text = (
            f"perplexity is {percent(abs(change))} {'higher' if change >= 0 else 'lower'}"
            f"{_ends(method.perplexity_ratio)} (free: at most {percent(FREE_PERPLEXITY)})"
        )
        if method.text_top1_agreement is not None:
            text += f" and {percent(1 - method.text_top1_agreement)} of the next tokens change"
        parts.append((_at_most(method.perplexity_ratio, 1 + FREE_PERPLEXITY), text))
    if method.throughput_ratio is not None:
        text = f"output throughput is {_ratio(method.throughput_ratio)}{_emulated(method)}"
        parts.append((_reaches(method, plain, FREE_SPEED), text))
    return FrontierClaim(
        "FP8 is free",
        verdict_of([held for held, _ in parts]) if len(parts) == 2 else "undecided",
        as_sentence(_evidence(parts) or "neither quality nor speed was measured"),
        method.name,
    )


def beats(one: FrontierMethod, other: FrontierMethod, ratios: Mapping[str, Ratio]) -> FrontierClaim:
    """One 4-bit method is closer to the unquantised model than another, at a lower perplexity.
    ratios: of the one to the other."""
    held: list[bool | None] = []
    said: list[str] = []
    for name, quantity, ours, theirs in (
        ("KL on the text", KL, one.text_kl_mean, other.text_kl_mean),
        ("perplexity", PERPLEXITY, one.perplexity, other.perplexity),
    ):
        if ours is not None and theirs is not None:
            ratio = ratios.get(quantity)
            held.append(_is_better(ratio))
            beside = _beside(ratio, one.text_tokens)
            said.append(f"{name} is {number(ours)} against {number(theirs)}{beside}")
    if one.output_tokens_per_s and other.output_tokens_per_s:
        ratio = one.output_tokens_per_s / other.output_tokens_per_s
        said.append(f"output throughput is {ratio:.2f} times {other.name}'s, which is not judged")
    return FrontierClaim(
        f"{one.name.upper()} beats {other.name.upper()}",
        verdict_of(held),
        as_sentence("; ".join(said) or "no quality was measured"),
    )


def _is_better(ratio: Ratio | None) -> bool | None:
    """None where the interval of the ratio holds no difference, and where there is none."""
    if ratio is None or ratio.verdict == "inconclusive":
        return None
    return ratio.verdict == "better"


def _at_most(ratio: Ratio | None, most: float) -> bool | None:
    """Whether a ratio is at most so much; None where its interval holds both."""
    unknown = ratio is None or (ratio.high is None and ratio.verdict == "inconclusive")
    if ratio is None or unknown or ratio.too_little:
        return None
    low, high = _interval(ratio)
    if high <= most:
        return True
    return False if low > most else None


def _interval(ratio: Ratio) -> tuple[float, float]:
    """What repeats exactly is its own."""
    if ratio.low is None or ratio.high is None:
        return ratio.value, ratio.value
    return ratio.low, ratio.high


def _reaches(method: FrontierMethod, plain: FrontierMethod, least: float) -> bool | None:
    """Whether the throughput's ratio is at least so much; None where its interval holds both, and
    where either run had the machine not to itself, for the interval is of requests alone, was
    too short for any, or computed in another arithmetic than its method's own."""
    ratio = method.throughput_ratio
    if ratio is None or ratio.too_little or method.disturbed or plain.disturbed:
        return None
    if method.emulated or plain.emulated:
        return None
    if ratio.low is None or ratio.high is None:
        return None if ratio.verdict == "inconclusive" else ratio.value >= least
    if ratio.low >= least:
        return True
    return False if ratio.high < least else None


def _all_passes_double(method: FrontierMethod, batch_1: AtBatch1) -> bool | None:
    """None where one pass does and another does not."""
    if method.emulated or batch_1.lowest < DOUBLE <= batch_1.highest:
        return None
    return batch_1.lowest >= DOUBLE


def _times(speed_up: float) -> str:
    """With three digits where two would round up to what was not reached."""
    digits = 3 if speed_up < DOUBLE <= round(speed_up, 2) else 2
    return f"{speed_up:.{digits}f}×"


def _emulated(method: FrontierMethod) -> str:
    """After a speed that is the emulation's."""
    return " on hardware that only emulates it, which decides nothing" if method.emulated else ""


def _ratio(ratio: Ratio) -> str:
    text = f"{ratio.value:.2f}×"
    if ratio.low is not None and ratio.high is not None:
        text += f" ({ratio.low:.2f} to {ratio.high:.2f})"
    return f"{text}, and {ratio.too_little}" if ratio.too_little else text


def _beside(ratio: Ratio | None, text_tokens: int | None) -> str:
    """What is known of how sure two numbers' ratio is, after them: `, 0.57× (0.49 to 0.66)`."""
    if ratio is None or (ratio.low is None and not ratio.too_little):
        return ""
    if ratio.too_little or _is_better(ratio) is not None:
        return f", {_ratio(ratio)}"
    return f", {_ratio(ratio)}, which is not decided{_more_text(ratio, text_tokens)}"


def _more_text(ratio: Ratio, tokens: int | None) -> str:
    """How much text might decide what so much does not, if the difference stays: an interval
    is as narrow as the root of it is large, and has to end before 1. Empty where that is more than
    anyone reads."""
    if tokens is None or ratio.low is None or ratio.high is None or ratio.value in (0.0, 1.0):
        return ""
    end = ratio.high if ratio.value < 1 else ratio.low
    if end <= 0:
        return ""
    times = (math.log(end / ratio.value) / math.log(ratio.value)) ** 2
    if not 1 < times <= _MOST_TEXT:
        return ""
    return f" (--quality-tokens {float(f'{times * tokens:.2g}'):.0f} may decide it)"


def _ends(ratio: Ratio | None) -> str:
    """The interval of a ratio as changes: `, −0.4 % to +1.2 %`; or why there is none."""
    if ratio is None:
        return ""
    if ratio.low is None or ratio.high is None:
        return f", and {ratio.too_little}" if ratio.too_little else ""
    ends = (f"{100 * (end - 1):+.2g} %".replace("-", "\u2212") for end in (ratio.low, ratio.high))
    return f", {' to '.join(ends)}"


def _evidence(parts: Sequence[tuple[bool | None, str]]) -> str:
    """Each part with what it says of the claim; of one alone the verdict says that."""
    if len(parts) == 1:
        return parts[0][1]
    return "; ".join(f"{text}: {_word(held)}" for held, text in parts)


def _word(held: bool | None) -> str:
    return {True: "confirmed", False: "refuted", None: "not decided"}[held]
