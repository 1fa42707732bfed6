"""A run as `vllm bench serve --save-result --save-detailed` writes it.

Source: `vllm/benchmarks/serve.py` of vLLM 0.32, `calculate_metrics` and `benchmark`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from ...workloads.scaled import arriving
from ..result import Result
from ..run.record import RequestRecord
from ..stats.percentiles import percentiles
from ..storage.store import StoredRun
from .offered import offered_rate_per_s
from .seen import Seen, prompt_tokens, seen, seen_of, sent_of, total

PERCENTILES = (50, 90, 95, 99)

TextOf = Callable[[Sequence[int]], str]


def to_vllm(run: StoredRun, text_of: TextOf | None = None) -> dict[str, Any]:
    """text_of: token ids to text, for `generated_texts`; without it that key is left out.

    TTFT and end-to-end latency count from the send (`sent_of`); ITL is the gap between chunks. TPOT
    leaves replies of one token out, but `request_goodput` counts them as 0, as vLLM does. It knows
    one reply to a prompt: each further one is a prompt of its own here, of no tokens.
    """
    result, config = run.result, run.result.config
    records = sent_of(run)
    served = seen_of(records)
    inputs, outputs = total(served)
    duration_s = result.duration_s

    def rate(amount: float) -> float:
        return amount / duration_s if duration_s else 0.0

    backend = _backend(result)
    slo = config.get("slo") or {}
    data: dict[str, Any] = {
        "date": _date(result.created_at),
        "endpoint_type": backend,
        "backend": backend,
        "label": result.label,
        "model_id": config["model"],
        "tokenizer_id": _tokenizer(result),
        "num_prompts": result.counters.requests_asked,
        "request_rate": _request_rate(result),
        "burstiness": _burstiness(result.workload.description),
        "max_concurrency": config.get("max_concurrency"),
        "duration": duration_s,
        "completed": len(served),
        "failed": len(records) - len(served),
        "total_input_tokens": inputs,
        "total_output_tokens": outputs,
        "request_throughput": rate(len(served)),
        "request_goodput": rate(_good(served, slo)) if slo else None,
        "output_throughput": rate(outputs),
        "total_token_throughput": rate(inputs + outputs),
        **_detailed(records),
    }
    if text_of is not None:
        data["generated_texts"] = [text_of(one.output_token_ids) for one in records]
    tpots_s = [one.tpot_s for one in served if one.tpot_s is not None]
    return {
        **data,
        **_statistics("ttft", [one.ttft_s for one in served]),
        **_statistics("tpot", tpots_s),
        **_statistics("itl", [gap_s for one in served for gap_s in one.gaps_s]),
        **_statistics("e2el", [one.latency_s for one in served]),
    }


def _backend(result: Result) -> str:
    """vLLM's name of the endpoint that was asked; of a run in process, ours of its engine."""
    if result.target is None:
        return f"llmbench-{result.config['engine']}"
    return "openai-chat" if result.target.endpoint == "chat" else "openai"


def _tokenizer(result: Result) -> str | None:
    """By name. In process it is the model's, or nothing that has one: a stand-in for it."""
    said, model = result.config.get("tokenizer"), result.config["model"]
    if result.target is not None:
        return said or model
    return model if said in (None, "the model's") else None


def _request_rate(result: Result) -> float | str | None:
    """`inf` to its readers is all at once, or as slots free; null where nobody decided the rate of
    requests: sessions arrived, and their turns waited for replies."""
    if arriving(result.workload.description) == "sessions":
        return None
    requests_per_s = offered_rate_per_s(result)
    return "inf" if requests_per_s is None else requests_per_s


def _detailed(records: Sequence[RequestRecord]) -> dict[str, list[Any]]:
    """An entry for each request, zeros for one that was not served."""
    each = [(record, seen(record)) for record in records]
    return {
        "input_lens": [prompt_tokens(record) for record, _ in each],
        "output_lens": [one.output_tokens if one else 0 for _, one in each],
        "ttfts": [one.ttft_s if one else 0.0 for _, one in each],
        "itls": [list(one.gaps_s) if one else [] for _, one in each],
        "latencies": [one.latency_s if one else 0.0 for _, one in each],
        "start_times": [record.t_send_s for record, _ in each],
        "queue_times": [record.t_send_s - record.t_due_s for record, _ in each],
        "errors": ["" if one else record.detail or str(record.status) for record, one in each],
    }


def _good(served: Sequence[Seen], slo: Mapping[str, float]) -> int:
    """Requests that meet every limit that vLLM knows, by its definitions."""

    def meets(one: Seen) -> bool:
        values_s = {"ttft": one.ttft_s, "tpot": one.tpot_s or 0.0, "e2el": one.latency_s}
        return all(values_s[name] <= limit_s for name, limit_s in slo.items() if name in values_s)

    return sum(map(meets, served))


def _statistics(name: str, values_s: Sequence[float]) -> dict[str, float]:
    """In milliseconds; zeros where there is nothing, as vLLM has them."""
    values_ms = 1e3 * np.asarray(values_s or [0.0])
    by_q = zip(PERCENTILES, percentiles(values_ms, PERCENTILES), strict=True)
    return {
        f"mean_{name}_ms": float(values_ms.mean()),
        f"median_{name}_ms": float(np.median(values_ms)),
        f"std_{name}_ms": float(values_ms.std()),
        **{f"p{q}_{name}_ms": value_ms for q, value_ms in by_q},
    }


def _date(created_at: str | None) -> str | None:
    return created_at and datetime.fromisoformat(created_at).strftime("%Y%m%d-%H%M%S")


def _burstiness(description: Mapping[str, Any]) -> float | None:
    """The shape of the gaps' gamma distribution, 1 / cv^2: 1 is Poisson, and less is burstier. None
    where the arrivals are no gamma process."""
    arrivals = description.get("arrivals")
    if not isinstance(arrivals, Mapping):
        return None
    if arrivals.get("kind") == "gamma":
        return float(arrivals["cv"]) ** -2
    return 1.0 if arrivals.get("kind") == "poisson" else None
