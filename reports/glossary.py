"""What each term of a report means: the formula, in words a reader can check.

The formulas are the harness's (`harness/metrics/`, one file each); here they are explained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .format import size


@dataclass(frozen=True)
class Term:
    """id: as stored in `result.json`. formula: empty where a sentence says all."""

    id: str
    label: str
    formula: str
    meaning: str

    @property
    def name(self) -> str:
        return f"{self.label} ({self.id})"


METRICS: tuple[Term, ...] = (
    Term(
        "ttft",
        "TTFT",
        "t_first − t_due",
        "Time to first token: the wait before anything appears, counted from when the request "
        "was due, so queueing is in it.",
    ),
    Term(
        "ttft_send",
        "TTFT from send",
        "t_first − t_send",
        "The same from when the engine got the request: what vLLM and aiperf report.",
    ),
    Term(
        "tpot",
        "TPOT",
        "(t_end − t_first) / (N − 1)",
        "Time per output token: the mean pace after the first token. A one-token reply has none.",
    ),
    Term(
        "itl",
        "ITL",
        "t_i − t_(i−1)",
        "Inter-token latency: every gap between two tokens of a reply; shows the stalls that a "
        "mean hides.",
    ),
    Term(
        "icl",
        "ICL",
        "t_chunk_i − t_chunk_(i−1)",
        "Inter-chunk latency: every gap between two chunks of a stream. A chunk may hold several "
        "tokens; what vLLM's benchmark calls ITL.",
    ),
    Term(
        "ntpot",
        "Normalised latency",
        "(t_end − t_due) / N",
        "The whole latency spread over the N output tokens, as in the Orca and PagedAttention "
        "papers.",
    ),
    Term(
        "e2el",
        "E2EL",
        "t_end − t_due",
        "End-to-end latency: from when the request was due to its last token.",
    ),
    Term(
        "queue",
        "Queue time",
        "t_scheduled − t_due",
        "How long until a step first worked on the request.",
    ),
    Term(
        "output_throughput",
        "Output throughput",
        "output tokens / time",
        "Tokens that became ready, a second.",
    ),
    Term(
        "total_throughput",
        "Total throughput",
        "(input + output tokens) / time",
        "Prompts count when their first output token is ready; recomputed tokens count once.",
    ),
    Term(
        "request_throughput",
        "Request throughput",
        "served requests / time",
        "Requests that ended well, a second.",
    ),
    Term(
        "goodput",
        "Goodput",
        "requests within every SLO / time",
        "Useful requests a second: those that kept every limit that was set.",
    ),
    Term(
        "goodput_share",
        "SLO attainment",
        "requests within every SLO / requests judged",
        "The share of requests that kept every limit that was set.",
    ),
    Term(
        "batch_tokens",
        "Tokens a step",
        "prefill + decode tokens of a step",
        "How wide the batch was; the mean is over time.",
    ),
    Term(
        "batch_requests",
        "Requests a step",
        "requests with a token in a step",
        "How many requests shared a step; the mean is over time.",
    ),
    Term(
        "budget_utilisation",
        "Budget used",
        "tokens of a step / max_num_batched_tokens",
        "How full the token budget was; the mean is over time.",
    ),
    Term(
        "mfu",
        "MFU",
        "operations of the model / (time × peak operations a second)",
        "Model FLOPs utilisation: the share of the device's arithmetic that computing tokens kept "
        "busy, of prompts and of replies. Low while decoding, where memory binds.",
    ),
    Term(
        "mbu",
        "MBU",
        "bytes of the model / (time × peak bytes a second)",
        "Model bandwidth utilisation: the share of the memory's bandwidth that weights, keys and "
        "values took. High is good while decoding.",
    ),
    Term(
        "energy_per_token",
        "Energy a token",
        "energy of the device / tokens",
        "Over the whole run, idle power included.",
    ),
    Term(
        "cost_per_million_tokens",
        "Cost of a million tokens",
        "price of an hour / tokens in an hour × 10⁶",
        "At the throughput of the steady window, or of the whole run where none was found, in the "
        "currency of the price.",
    ),
)

PARTS: tuple[Term, ...] = (
    Term(
        "queue_s",
        "Queue",
        "",
        "Waiting until a step first computes the request, or later for its turn while a step "
        "decodes others.",
    ),
    Term("own_prefill_s", "Own prefill", "", "Computing the request's own prompt."),
    Term(
        "others_prefill_s",
        "Others' prefill",
        "",
        "Computing other prompts for the first time: in the same step, or in steps that make the "
        "request wait.",
    ),
    Term(
        "decode_s",
        "Decode",
        "",
        "The decodes' part of the steps it is in: a batch of them takes its time together.",
    ),
    Term(
        "preemption_s",
        "Preemption",
        "",
        "From losing its KV cache until what was lost is there again; standing behind others' "
        "tokens that are computed again; swapping in its steps.",
    ),
    Term(
        "host_s",
        "Host",
        "",
        "Scheduling, preparing, sampling and bookkeeping in its steps, and the time between steps.",
    ),
    Term(
        "residual_s",
        "Residual",
        "measured − Σ parts",
        "What is in no part: time that no phase of a step accounts for.",
    ),
)

KV_STATES: tuple[Term, ...] = (
    Term("useful", "Useful", "Σ u", "Keys and values that are written."),
    Term(
        "reserved",
        "Reserved",
        "Σ (min(R, F) − u)",
        "Held for a request that writes it later; until then nobody else can.",
    ),
    Term(
        "internal",
        "Internal",
        "Σ (R − min(R, F))",
        "Held by a request that never writes it.",
    ),
    Term(
        "external",
        "External",
        "free, no one piece large enough",
        "Free room of no use to the request at the head of the queue: no hole is large enough.",
    ),
    Term(
        "shared",
        "Shared",
        "saved by sharing blocks",
        "Room saved because requests share it: a gain, no part of the waste.",
    ),
)

OTHER: tuple[Term, ...] = (
    Term(
        "waste_share",
        "KV waste",
        "1 − useful / (useful + reserved + internal + external)",
        "The part of the KV memory taken that held nothing, over the time steps took. "
        "u: tokens written, R: tokens of room held, F: what the request had in the end.",
    ),
    Term(
        "preemptions",
        "Preemptions",
        "",
        "Times a running request lost its KV cache to another and had to be computed again.",
    ),
    Term(
        "window",
        "Steady window",
        "",
        "The part of the run after ramp-up and before the last arrival; rates over it are the "
        "engine's own, rates over the whole run include filling and draining.",
    ),
    Term(
        "kl",
        "KL divergence",
        "Σ p · ln(p / q)",
        "How far the engine's next-token distribution q is from the unquantised p, in nats a "
        "token; 0 is identical.",
    ),
    Term(
        "top1_agreement",
        "Top-1 agreement",
        "",
        "How often both would pick the same next token.",
    ),
    Term(
        "perplexity",
        "Perplexity",
        "exp(mean negative log-likelihood)",
        "How surprised the model is by held-out text; lower is better.",
    ),
)

_FIELDS = {
    "kl_mean": "KL divergence on the answers, mean",
    "kl_p99": "KL divergence on the answers, p99",
    "text_kl_mean": "KL divergence on the text, mean",
    "text_kl_p99": "KL divergence on the text, p99",
    "text_top1_agreement": "Top-1 agreement on the text",
    "kv_bytes": "KV cache",
    "kv_peak_held_tokens": "KV tokens held, peak",
    "peak_rss_bytes": "Process, peak resident",
    "peak_device_bytes": "Accelerator, peak",
    "weight_bytes": "Weights a step reads",
}
_BY_ID = {term.id: term for term in (*METRICS, *PARTS, *KV_STATES, *OTHER)}


# Settings of an engine as notes and labels have them; of a switch, off and on.
AXIS_WORDS: Mapping[str, str | tuple[str, str]] = {
    "batching": "{} batching",
    "admission": "{} admission",
    "kv": "{} KV",
    "block_size": "block {}",
    "kv_dtype": "{} KV values",
    "mixing": "{} mixing",
    "chunked_prefill": ("whole prompts", "chunked prefill"),
    "chunking": "{} chunking",
    "whole_prompt_fits": ("prompts cut to fit", "prompts that fit whole"),
    "delay_factor": "delay factor {}",
    "preemption": "{} preemption",
    "prefix_cache": ("no prefix cache", "prefix cache"),
    "kv_reservation": "{} reservation",
    "arena": "{} arena",
    "max_num_seqs": "up to {} at once",
    "max_num_batched_tokens": "steps of {} tokens",
}


def setting_text(name: str, value: object) -> str:
    """A setting in words: `mixed batching`, `watermark 0.05`, `no prefix cache`."""
    words = AXIS_WORDS.get(name, _spelled_out(name) + " {}")
    if isinstance(words, tuple):
        return words[bool(value)]
    if isinstance(value, bool):
        return _spelled_out(name) if value else f"no {_spelled_out(name)}"
    return words.format(_level(name, value))


def change_text(name: str, before: object, after: object) -> str:
    """A setting that changes: `block 16 → 32`; of a switch `chunked prefill → whole prompts`. One
    whose name is a word is named by it: `batching separate → mixed`."""
    if isinstance(before, bool):
        return f"{setting_text(name, before)} → {setting_text(name, after)}"
    arrow = f"{_level(name, before)} → {_level(name, after)}"
    return f"{name} {arrow}" if "_" not in name else setting_text(name, arrow)


def _spelled_out(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _level(name: str, value: object) -> object:
    if name.endswith("_bytes") and isinstance(value, int):
        return size(value)
    return f"{value:g}" if isinstance(value, float) else value


def label_of(name: str) -> str:
    """The label of a metric's id or of a stored field; one that has none is spelled out."""
    if name in _BY_ID:
        return _BY_ID[name].label
    return _FIELDS.get(name) or name.replace("_", " ").capitalize()


def in_sentence(label: str) -> str:
    """A label inside a sentence: "Output throughput" begins small, "TTFT p50" does not."""
    return label if label[:2].isupper() else label[:1].lower() + label[1:]
