"""How often an interval of a difference in quality misses, and what intervals that hold together
decide, by how many blocks of the text they are of.

    python -m tests.evidence.text_quality --keep tokens.npz
    python -m tests.evidence.text_quality --model smollm2-135m --methods none,awq,gptq,int8,w8a8

Every token of the held-out text is judged with the model, quantised and not, once; some minutes, or
`--keep FILE` and only the first time. Then stretches of it stand for the text that a run reads, and
two things for what it might have read: all of the play that a stretch is from, and all of the text
with its two plays and two books of the Bible. An interval of a
stretch ought to hold the ratio of the whole.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from llmbench.engines.assemble import LoadedModel, load_model
from llmbench.engines.config import engine_config
from llmbench.engines.models.bundled import heldout_text
from llmbench.engines.models.dense import dense_logits
from llmbench.harness.comparison.text_quality import ALLOWANCE
from llmbench.harness.config import RunConfig
from llmbench.harness.frontier.methods import RIVALS
from llmbench.harness.quality import measure as quality
from llmbench.harness.run.experiment import prepare
from llmbench.harness.run.watch import Silent
from llmbench.harness.stats.bootstrap import (
    Sample,
    Statistic,
    blocks_of,
    draw_blocks,
    interval_of,
)
from llmbench.harness.stats.student import quantile
from numpy.typing import NDArray

from ..harness.stats.samples import one_each

Floats = NDArray[np.float64]
METHODS = "none,awq,gptq,rtn,fp8,int8"
TOKENS, TRIALS, PART, WINDOW = (512, 1024, 2048, 4096, 8192), 100, 32, 2048
# Where the second play begins, and the Bible.
SCENES = ("Master:\nBoatswain!", "Ruth 1\n")
# One at 95 %, and one of 31 that hold together.
CONFIDENCES = (0.95, 1 - 0.05 / 31)
STATISTICS = {"nll": Statistic(of_logs=True), "kl": Statistic()}


@dataclass(frozen=True)
class Rule:
    """How many blocks an interval is of, and what it is widened by."""

    name: str
    blocks: int
    allowance: float

    def draws(self, sample: Sample, of: Statistic) -> Floats:
        """The statistic of each resample: of the same parts for every method, as in
        `compare_samples`, whose numbers these are."""
        return of.of_resamples(sample.ascending(), _times(sample.num_units, self._block(sample)))

    def interval(
        self, before: Floats, after: Floats, sample: Sample, confidence: float
    ) -> tuple[float, float]:
        """Of the ratio of two methods, from their draws."""
        blocks = blocks_of(sample.num_units, self._block(sample))
        return interval_of(after / before, blocks, confidence, "ratio", self.allowance)

    def _block(self, sample: Sample) -> int:
        return -(-sample.num_units // self.blocks)


@cache
def _times(units: int, block: int) -> NDArray[np.int32]:
    return draw_blocks(units, block, 1000, np.random.default_rng(0))


BEFORE, NOW = Rule("4 blocks", 4, 1.0), Rule(f"16 blocks, × {ALLOWANCE}", 16, ALLOWANCE)
RULES = (BEFORE, Rule("16 blocks", 16, 1.0), NOW)


@dataclass(frozen=True)
class Judged:
    """Nats of every token: nll and kl by method. works: where each play begins and ends."""

    nats: Mapping[str, Floats]
    works: tuple[tuple[int, int], ...]

    @property
    def methods(self) -> list[str]:
        return [name.split()[0] for name in self.nats if name.endswith(" nll")]

    @property
    def tokens(self) -> int:
        return len(next(iter(self.nats.values())))

    @property
    def whole(self) -> tuple[int, int]:
        return 0, self.tokens

    def pairs(self, kind: str) -> list[tuple[str, str]]:
        """Every two methods; the unquantised model's distance to itself has no ratio."""
        return list(combinations(self.methods[kind == "kl" :], 2))

    def ratio(self, kind: str, one: str, other: str, span: tuple[int, int]) -> float:
        """Of a play, or of the whole text."""
        first, last = (
            STATISTICS[kind].of(one_each(self.nats[f"{name} {kind}"][slice(*span)]))
            for name in (one, other)
        )
        return last / first

    def stretches(self, length: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """Starts within a play, and the play; both plays by their lengths."""
        rng = np.random.default_rng(0)
        starts = [range(start, end - length) for start, end in self.works]
        every = np.concatenate([np.array(one) for one in starts if len(one)])
        for start in rng.choice(every, TRIALS).tolist():
            yield start, next(work for work in self.works if work[0] <= start < work[1])


def judged_tokens(model: str, methods: Sequence[str]) -> dict[str, Floats]:
    """NLL and KL of every token of the text, by method: `awq nll`, `awq kl`; and `works`."""
    quality.PART_TOKENS, quality.MOST_PARTS = 1, 2**62
    config = RunConfig(model, engine_config("paged"))
    found: dict[str, Floats] = {}
    plain: LoadedModel | None = None
    for method in methods:
        prepared = prepare(replace(config, engine=replace(config.engine, quant=method)), Silent())
        loaded = load_model(prepared.files, prepared.engine, print)
        plain = plain or loaded
        seen = quality.quality_on_text(
            score(loaded), score(plain), prepared.corpus_token_ids, WINDOW
        )
        assert seen is not None
        assert seen.parts.kl is not None
        found[f"{method} nll"] = np.array(seen.parts.nll)
        found[f"{method} kl"] = np.array(seen.parts.kl)
        text = heldout_text()
        begins = (
            prepared.tokenizer.encode(text[: text.index(scene)], add_special_tokens=False)
            for scene in SCENES
        )
        found["works"] = np.array([len(one) - len(one) // WINDOW for one in begins])
    return found


def score(loaded: LoadedModel) -> quality.Score:
    return lambda token_ids, first=0: dense_logits(loaded.model, token_ids, first=first)


def in_parts(values: Floats) -> Sample:
    starts = np.arange(0, len(values), PART)
    sums, tokens = np.add.reduceat(values, starts), np.diff(np.append(starts, len(values)))
    return Sample(sums, np.arange(len(sums)), len(sums), tokens.astype(np.float64))


def misses(judged: Judged, kind: str, tokens: int, rule: Rule) -> str:
    """Cells of the table, means over every two methods and stretches."""
    seen: list[list[float]] = []
    for start, work in judged.stretches(tokens):
        parts = samples(judged, start, tokens, None)
        draws = {name: rule.draws(part, STATISTICS[kind]) for name, part in parts[kind].items()}
        for one, other in judged.pairs(kind):
            own, whole = (judged.ratio(kind, one, other, of) for of in (work, judged.whole))
            row: list[float] = []
            for confidence in CONFIDENCES:
                low, high = rule.interval(draws[one], draws[other], parts[kind][one], confidence)
                row += [not low <= truth <= high for truth in (own, whole)]
                row += [low > 1 >= own or high < 1 <= own, high / low - 1]
            seen.append(row)
    mean, width = np.mean(seen, axis=0), np.median(seen, axis=0)
    return " | ".join(
        f"{mean[at]:.1%}, {mean[at + 1]:.1%}, {mean[at + 2]:.1%}, {width[at + 3]:.1%}"
        for at in (0, 4)
    )


def asked(judged: Judged) -> list[tuple[str, str, str]]:
    """What a frontier judges together, as `harness/frontier/pairs.py`: kind and two methods."""
    plain = judged.methods[0]
    by_perplexity = [
        pair for pair in judged.pairs("nll") if plain in pair or set(pair) == set(RIVALS)
    ]
    return [
        *(("kl", *pair) for pair in judged.pairs("kl")),
        *(("nll", *pair) for pair in by_perplexity),
    ]


def everything(judged: Judged) -> list[tuple[str, str, str]]:
    return [(kind, *pair) for kind in ("kl", "nll") for pair in judged.pairs(kind)]


def family(judged: Judged, tokens: int, rule: Rule, *, all_pairs: bool, coin: bool) -> str:
    """Of stretches: in how many any ratio of the family misses its play's, and the share of what
    is asked that is decided. coin: methods change places from part to part, so that all are
    alike."""
    questions = asked(judged)
    together = everything(judged) if all_pairs else questions
    if coin:  # the unquantised model is like no other
        questions = [one for one in questions if judged.methods[0] not in one]
    confidence = 1 - 0.05 / (len(together) + len(judged.pairs("nll")))
    rng = np.random.default_rng(1)
    missed: list[bool] = []
    decided: list[float] = []
    for start, work in judged.stretches(tokens):
        parts = samples(judged, start, tokens, rng if coin else None)
        draws = {
            kind: {name: rule.draws(part, STATISTICS[kind]) for name, part in of.items()}
            for kind, of in parts.items()
        }
        found = {
            question: rule.interval(
                draws[kind][one], draws[kind][other], parts[kind][one], confidence
            )
            for question in together
            for kind, one, other in [question]
            if not (coin and judged.methods[0] in question)
        }
        truth = {one: 1.0 if coin else judged.ratio(*one, work) for one in found}
        missed.append(any(not low <= truth[of] <= high for of, (low, high) in found.items()))
        decided.append(
            float(np.mean([not found[one][0] <= 1 <= found[one][1] for one in questions]))
        )
    return f"{np.mean(missed):.0%}, {np.mean(decided):.0%}"


def samples(
    judged: Judged, start: int, tokens: int, rng: np.random.Generator | None
) -> dict[str, dict[str, Sample]]:
    """A stretch's parts, by kind and method; with rng, in each part some quantised method's."""
    parts = {
        kind: {
            name: in_parts(judged.nats[f"{name} {kind}"][start : start + tokens])
            for name in judged.methods[kind == "kl" :]
        }
        for kind in STATISTICS
    }
    if rng is None:
        return parts
    names = judged.methods[1:]
    size = parts["kl"][names[0]].num_units
    whose = rng.permuted(np.tile(np.arange(len(names)), (size, 1)), axis=1).T
    for of in parts.values():
        every = np.array([of[name].values for name in names])
        for name, row in zip(names, np.take_along_axis(every, whose, axis=0), strict=True):
            of[name] = replace(of[name], values=row)
    return parts


def apart(judged: Judged, kind: str, pair: Sequence[str], span: slice) -> Floats:
    """What each token adds to two methods' difference; of KL, each side in its mean."""
    one, other = (judged.nats[f"{name} {kind}"][span] for name in pair)
    if kind == "kl":
        one, other = one / one.mean(), other / other.mean()
    return other - one - (other - one).mean()


def neighbours(judged: Judged) -> float:
    """The largest correlation of differences of neighbouring tokens, of all pairs."""
    found = [apart(judged, kind, pair, slice(None)) for kind, *pair in everything(judged)]
    return max(abs(float(one[1:] @ one[:-1] / (one @ one))) for one in found)


def narrower(judged: Judged, tokens: int) -> float:
    """By which share intervals of one critical value for the whole family, of Student's t of every
    ratio in the same draws of blocks, would be narrower than Bonferroni's."""
    questions = asked(judged)
    rng = np.random.default_rng(2)
    found = []
    for start, _ in list(judged.stretches(tokens))[:20]:
        span = slice(start, start + tokens)
        differences = np.array([apart(judged, kind, pair, span) for kind, *pair in questions])
        rows = differences.reshape(len(questions), NOW.blocks, -1).sum(axis=2).T
        rows /= np.sqrt((rows**2).sum(axis=0))
        blocks = len(rows)
        most = []
        for _ in range(10):
            drawn = rng.normal(size=(1000, blocks, blocks)) @ rows
            t = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / np.sqrt(blocks))
            most.append(np.abs(t).max(axis=1))
        joint = float(np.quantile(np.concatenate(most), 0.95))
        found.append(1 - joint / quantile(1 - 0.05 / len(questions), blocks - 1))
    return float(np.median(found))


def rivals(judged: Judged) -> Iterator[str]:
    """What all of the text says of them, at the confidence of 31 that hold together."""
    parts = samples(judged, 0, judged.tokens, None)
    one, other = RIVALS
    for kind, of in parts.items():
        before, after = (NOW.draws(of[name], STATISTICS[kind]) for name in (other, one))
        low, high = NOW.interval(before, after, of[one], CONFIDENCES[1])
        ratio = judged.ratio(kind, other, one, judged.whole)
        yield f"{kind} of {one} to {other}: {ratio:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="an .npz file of the tokens' numbers")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--methods", default=METHODS, help="the unquantised model first")
    args = parser.parse_args()
    if args.keep is not None and args.keep.exists():
        found = dict(np.load(args.keep))
    else:
        found = judged_tokens(args.model, args.methods.split(","))
        if args.keep is not None:
            np.savez(args.keep, **found)  # pyright: ignore[reportArgumentType]
    second, bible = found.pop("works").tolist()
    judged = Judged(found, ((0, second), (second, bible)))
    print(f"{judged.tokens} tokens, plays of {second} and {bible - second}")
    print(f"largest correlation of neighbouring tokens' differences: {neighbours(judged):.3f}")
    if set(RIVALS) <= set(judged.methods):
        print("over all of the text", *rivals(judged), sep="; ")
    print("misses of the play, of the whole text, wrong way, width: at 95 %, and at 99.84 %")
    print("| of | tokens | rule | at 95 % | at 99.84 % |\n|---|---|---|---|---|")
    for kind in ("nll", "kl"):
        for tokens in TOKENS:
            for rule in RULES:
                name = "perplexity" if kind == "nll" else "KL"
                cells = misses(judged, kind, tokens, rule)
                print(f"| {name} | {tokens} | {rule.name} | {cells} |", flush=True)
    print("any miss, share decided: before, now; and where methods are alike")
    print("| tokens | before | now | alike, before | alike, now |\n|---|---|---|---|---|")
    for tokens in TOKENS:
        cells = " | ".join(
            family(judged, tokens, rule, all_pairs=rule is BEFORE, coin=coin)
            for coin in (False, True)
            for rule in (BEFORE, NOW)
        )
        print(f"| {tokens} | {cells} |", flush=True)
    print(f"one critical value for all would be narrower by {narrower(judged, 4096):.1%}")


if __name__ == "__main__":
    main()
