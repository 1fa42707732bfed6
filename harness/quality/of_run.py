"""The quality of a run: what its quantisation cost, judged with the weights that it served."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING

from ..result import Check, Quality, TextParts
from ..run.record import RequestRecord

if TYPE_CHECKING:
    from torch import Tensor

    from ...engines.assemble import LoadedModel
    from ..run.experiment import Prepared
    from ..run.watch import Watch
    from .measure import Answered, Distance, Score, TextQuality

TOLD_EVERY_S = 5.0
_NO_REFERENCE = (
    "the checkpoint was quantised before, so there is no unquantised model here to compare it "
    "with: KL and agreement are left out; --quality-reference names one"
)


def judge_quality(
    prepared: Prepared,
    loaded: LoadedModel,
    records: Sequence[RequestRecord],
    watch: Watch,
) -> Quality:
    """Perplexity on the held-out text, through the run's own kind of KV cache; where weights or
    cache are quantised, the distance to the engine with neither, on the text and on the answers. Of
    a checkpoint that was quantised before, to the model that was named for it, if one was."""
    from ...engines.assemble import load_model
    from ...engines.models.dense import dense_logits
    from ...engines.quantization.checkpoints.read import read_scheme
    from .measure import WINDOW_TOKENS, answered, distance, quality_on_text

    most = prepared.config.quality_tokens
    window = min(WINDOW_TOKENS, prepared.engine.max_model_len)
    text = prepared.corpus_token_ids[:most]

    def scorer(model: LoadedModel, kv_dtype: str) -> Score:
        return lambda token_ids, first=0: dense_logits(
            model.model, token_ids, kv_dtype, first=first
        )

    engine = prepared.engine
    replies: list[Answered] = []
    plain_score = apart = None
    unquantised, caveat = prepared.reference or prepared.files, prepared.files.caveat
    if engine.quant != "none" and read_scheme(unquantised.directory) is not None:
        unquantised = None
        caveat = "; ".join(filter(None, (caveat, _NO_REFERENCE)))
    exact = replace(engine, quant="none", quant_activations="auto", quant_head="auto")
    if unquantised is not None and (engine != exact or engine.kv_dtype != "auto"):
        plain = loaded
        if engine != exact:
            watch.stage(f"loading {unquantised.name} unquantised, to compare with")
            plain = load_model(unquantised, exact, watch.stage)
        plain_score = scorer(plain, "auto")
        prompts = [request.prompt_token_ids for request in prepared.plan.requests]
        replies = answered(records, prompts, most)
    of_replies = sum(len(one.token_ids) - 1 for one in replies)
    watch.stage(measured_over(len(text), of_replies))
    score = told_of(scorer(loaded, engine.kv_dtype), len(text) + of_replies, watch)
    if plain_score is not None:
        apart = distance(score, plain_score, replies)
    compared = "none: the checkpoint was quantised before"
    if unquantised is not None:
        compared = f"{unquantised.name} in {prepared.engine.dtype}, unquantised"
    return quality_of(
        quality_on_text(score, plain_score, text, window),
        apart,
        reference=compared,
        perplexity_text=prepared.corpus_name,
        caveat=caveat,
        text_fingerprint=fingerprint([text]),
        answers_fingerprint=fingerprint([one.token_ids for one in replies]) if replies else "",
    )


def fingerprint(texts: Iterable[Sequence[int]]) -> str:
    """SHA-256 of these token ids, text by text."""
    digest = sha256()
    for token_ids in texts:
        digest.update(f"{','.join(map(str, token_ids))}\n".encode())
    return digest.hexdigest()


def measured_over(text_tokens: int, reply_tokens: int) -> str:
    """What `told_of` counts, said before it does. reply_tokens: prompts and answers together."""
    replies = f" and {reply_tokens} of the run's own prompts and answers" if reply_tokens else ""
    return f"measuring quality over {text_tokens} tokens of text{replies}"


def told_of(score: Score, tokens: int, watch: Watch, now: Callable[[], float] = monotonic) -> Score:
    """A score that says every few seconds how many of all its `tokens` it has been given: a large
    model takes minutes, and silence looks like an end."""
    done, told_s = 0, now()

    def told(token_ids: Sequence[int], /, first: int = 0) -> Tensor:
        nonlocal done, told_s
        if done and now() - told_s >= TOLD_EVERY_S:
            told_s = now()
            watch.stage(f"measuring quality: {done} of {tokens} tokens")
        done += len(token_ids)
        return score(token_ids, first=first)

    return told


def quality_of(text: TextQuality | None, answers: Distance | None, **said: str) -> Quality:
    """What a result says of it. said: `reference`, `perplexity_text`, `caveat` and fingerprints."""
    apart = text.distance if text else None
    reference = text.reference_perplexity if text else None
    return Quality(
        perplexity=text.perplexity.value if text else None,
        reference_perplexity=reference.value if reference else None,
        perplexity_window_tokens=text.perplexity.window_tokens if text else None,
        perplexity_tokens=text.perplexity.tokens if text else None,
        text_kl_mean=apart.kl_mean if apart else None,
        text_kl_p99=apart.kl_p99 if apart else None,
        text_top1_agreement=apart.top1_agreement if apart else None,
        kl_mean=answers.kl_mean if answers else None,
        kl_p99=answers.kl_p99 if answers else None,
        top1_agreement=answers.top1_agreement if answers else None,
        compared_tokens=answers.tokens if answers else 0,
        text_parts=TextParts(**asdict(text.parts)) if text else None,
        **said,
    )


def finite(quality: Quality) -> tuple[Quality, Check]:
    """What a result can hold of it, for JSON has neither NaN nor infinity, and the check that says
    so where something had to go: a model that computes NaN was fast at nothing."""
    lost = {
        name: "NaN" if math.isnan(value) else "infinite"
        for name, value in quality
        if isinstance(value, float) and not math.isfinite(value)
    }
    detail = "perplexity and distances are finite"
    if lost:
        # An agreement with NaN is a count of nothing, and some parts are NaN themselves.
        gone = (*lost, "text_top1_agreement", "top1_agreement", "text_parts")
        quality = quality.model_copy(update=dict.fromkeys(gone))
        first = next(iter(lost))
        whose = "the unquantised model" if first == "reference_perplexity" else "the model"
        detail = (
            f"{first.replace('_', ' ')} is {lost[first]}: {whose} computes NaN or infinity; "
            "--verify-kernels says whether a kernel does"
        )
    return quality, Check(
        id="quality", ok=not lost, fatal=True, value=float(len(lost)), limit=0.0, detail=detail
    )
