"""What quantisation cost in quality."""

from __future__ import annotations

from pydantic import Field

from .base import ResultPart


class TextParts(ResultPart):
    """Sums over stretches of neighbouring tokens of the text, in its order: what the interval of a
    comparison is resampled from. One number a stretch in each list."""

    tokens: tuple[int, ...] = Field(description="Predicted in each.")
    nll: tuple[float, ...] = Field(description="Negative log-likelihood, nats.")
    kl: tuple[float, ...] | None = Field(default=None, description="KL(reference || engine), nats.")
    agreed: tuple[int, ...] | None = Field(
        default=None, description="Tokens for which both would choose the same next one."
    )


class Quality(ResultPart):
    """Distance to the unquantised engine, and perplexity; null fields say what was not run.

    Perplexity and what begins with `text_` are of the same tokens: `perplexity_text` in
    non-overlapping windows. The rest is of this run's answers.
    """

    reference: str
    perplexity: float | None = None
    reference_perplexity: float | None = None
    perplexity_text: str = ""
    perplexity_window_tokens: int | None = None
    perplexity_tokens: int | None = None
    text_kl_mean: float | None = Field(
        None, description="Mean KL(reference || engine) on the text, nats a token."
    )
    text_kl_p99: float | None = None
    text_top1_agreement: float | None = None
    kl_mean: float | None = Field(None, description="Mean KL(reference || engine), nats a token.")
    kl_p99: float | None = None
    top1_agreement: float | None = None
    compared_tokens: int = 0
    caveat: str = ""
    text_parts: TextParts | None = Field(
        default=None,
        description="Null where no text was read, or a number of it is not finite: no interval.",
    )
    text_fingerprint: str = Field(
        default="", description="Of the text's token ids: one text read by two tokenizers has two."
    )
    answers_fingerprint: str = Field(
        default="", description="Of the token ids of the prompts and answers that were judged."
    )
