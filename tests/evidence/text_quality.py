"""How often the interval of a ratio of perplexities or of KL misses, by how many blocks it is of.

    python -m tests.evidence.text_quality

Every token of the held-out text is judged with the bundled model, quantised and not, once; some
minutes, or `--keep FILE` and only the first time. Then stretches of it, from anywhere, stand for
the text that a run reads, and the whole for all that it might have read: the interval of a stretch
ought to hold the ratio of the whole. Ten blocks are what `stats/bootstrap.py` takes of requests.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from llmbench.engines.assemble import LoadedModel, load_model
from llmbench.engines.config import engine_config
from llmbench.engines.models.dense import dense_logits
from llmbench.harness.config import RunConfig
from llmbench.harness.quality import measure as quality
from llmbench.harness.run.experiment import prepare
from llmbench.harness.run.watch import Silent
from llmbench.harness.stats.bootstrap import Sample, Statistic, compare_samples
from numpy.typing import NDArray

Floats = NDArray[np.float64]
METHODS = ("none", "awq", "gptq", "rtn", "fp8")
TOKENS, BLOCKS, TRIALS, PART = (512, 1024, 2048, 4096, 8192), (10, 4), 150, 32


def judged_tokens() -> dict[str, Floats]:
    """NLL and KL of every token of the text, by method: `awq nll`, `awq kl`."""
    quality.PART_TOKENS, quality.MOST_PARTS = 1, 2**62
    config = RunConfig("bundled", engine_config("paged"))
    loaded: dict[str, LoadedModel] = {}
    found: dict[str, Floats] = {}
    for method in METHODS:
        prepared = prepare(replace(config, engine=replace(config.engine, quant=method)), Silent())
        loaded[method] = load_model(prepared.files, prepared.engine, print)
        seen = quality.quality_on_text(
            score(loaded[method]), score(loaded["none"]), prepared.corpus_token_ids, 2048
        )
        assert seen is not None
        assert seen.parts.kl is not None
        found[f"{method} nll"] = np.array(seen.parts.nll)
        found[f"{method} kl"] = np.array(seen.parts.kl)
    return found


def score(loaded: LoadedModel) -> quality.Score:
    return lambda token_ids, first=0: dense_logits(loaded.model, token_ids, first=first)


def in_parts(values: Floats) -> Sample:
    starts = np.arange(0, len(values), PART)
    sums, tokens = np.add.reduceat(values, starts), np.diff(np.append(starts, len(values)))
    return Sample(sums, np.arange(len(sums)), len(sums), tokens.astype(np.float64))


def tried(one: Floats, other: Floats, statistic: Statistic, tokens: int, blocks: int) -> Floats:
    """Shares of the stretches whose interval misses, and that call the wrong direction; and the
    median width."""
    rng = np.random.default_rng(0)
    truth = statistic.of(in_parts(other)) / statistic.of(in_parts(one))
    found = np.empty((TRIALS, 3))
    for at, start in enumerate(rng.integers(0, len(one) - tokens, TRIALS)):
        before, after = (in_parts(side[start : start + tokens]) for side in (one, other))
        block = -(-before.num_units // blocks)
        seen = compare_samples(before, after, statistic, paired=True, block=block, resamples=500)
        wrong = seen.low > 1 >= truth or seen.high < 1 <= truth
        found[at] = (not seen.low <= truth <= seen.high, wrong, seen.high / seen.low - 1)
    return np.array([*found[:, :2].mean(axis=0), np.median(found[:, 2])])


def table(tokens_of: Mapping[str, Floats], name: str, methods: Sequence[str]) -> None:
    """Means over every two methods."""
    statistic = Statistic(of_logs=name == "nll")
    for tokens in TOKENS:
        cells = [f"| {'perplexity' if name == 'nll' else 'KL'} | {tokens} |"]
        for blocks in BLOCKS:
            missed, wrong, width = np.mean(
                [
                    tried(
                        tokens_of[f"{a} {name}"],
                        tokens_of[f"{b} {name}"],
                        statistic,
                        tokens,
                        blocks,
                    )
                    for a, b in combinations(methods, 2)
                ],
                axis=0,
            )
            cells.append(f" {missed:.0%}, {wrong:.0%}, {width:.1%} |")
        print("".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="an .npz file of the tokens' numbers")
    keep: Path | None = parser.parse_args().keep
    if keep is not None and keep.exists():
        tokens_of = dict(np.load(keep))
    else:
        tokens_of = judged_tokens()
        if keep is not None:
            np.savez(keep, **tokens_of)  # pyright: ignore[reportArgumentType]
    titles = " | ".join(f"{blocks} blocks: misses, wrong way, width" for blocks in BLOCKS)
    print(f"| of | tokens | {titles} |\n|---|---|---|---|")
    table(tokens_of, "nll", METHODS)
    table(tokens_of, "kl", METHODS[1:])


if __name__ == "__main__":
    main()
