"""Runs to report on, made by a small queueing model: no engine is needed to test a report."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from llmbench.harness.attribution import attribute, summarise_parts, timeline_of_tables
from llmbench.harness.result import Result
from llmbench.harness.tables.requests import REQUEST_COLUMNS, records_of
from llmbench.harness.tables.steps import STEP_COLUMNS
from llmbench.reports.model import Run
from numpy.typing import ArrayLike

BLOCK = 16
CAPACITY_TOKENS = 8192
BYTES_PER_TOKEN = 46080
BUDGET_TOKENS = 2048
SLO_S = {"ttft": 0.2, "tpot": 0.05}
STANDS_FOR = "vLLM's original (v0) default scheduler with PagedAttention"


@dataclass
class _Live:
    row: dict[str, Any]
    wanted: int
    times_s: list[float] = field(default_factory=list)

    @property
    def used(self) -> int:
        return self.row["input_tokens"] + max(0, len(self.times_s) - 1)


@dataclass(frozen=True)
class Load:
    """What to serve. mixed: prefill and decode share steps. spread: of the lengths."""

    num_requests: int = 32
    rate_per_s: float = 4.0
    mean_input_tokens: float = 220.0
    mean_output_tokens: float = 60.0
    max_num_seqs: int = 16
    mixed: bool = False
    seed: int = 1


def simulate(load: Load) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Requests and steps of a first-come, first-served engine whose step times are a formula."""
    rng = np.random.default_rng(load.seed)
    due_s = np.cumsum(rng.exponential(1 / load.rate_per_s, load.num_requests))
    inputs = np.clip(rng.lognormal(np.log(load.mean_input_tokens), 0.6, load.num_requests), 8, 900)
    outputs = np.clip(rng.geometric(1 / load.mean_output_tokens, load.num_requests), 1, 400)
    coming = [
        _Live(
            {
                "request_id": f"req-{index}",
                "index": index,
                "status": "ok",
                "sample": 0,
                "t_due_s": float(due_s[index]),
                "t_send_s": float(due_s[index]) + 0.001,
                "input_tokens": int(inputs[index]),
                "preemptions": int(index % 11 == 5),
                "recomputed_tokens": 0,
                "output_token_ids": [1],
                "detail": "",
                "chunk_times_s": (),
                "chunk_tokens": (),
                "counted": "",
                "cached_tokens": math.nan,
                "hidden_tokens": 0,
                "error": "",
            },
            int(outputs[index]),
        )
        for index in range(load.num_requests)
    ]
    coming.reverse()
    done: list[_Live] = []
    running: list[_Live] = []
    steps: list[dict[str, Any]] = []
    now = 0.0
    while coming or running:
        if not running and coming[-1].row["t_send_s"] > now:
            now = coming[-1].row["t_send_s"]
        new: list[_Live] = []
        while (
            coming
            and coming[-1].row["t_send_s"] <= now
            and len(running) + len(new) < load.max_num_seqs
            and sum(one.row["input_tokens"] for one in new) < BUDGET_TOKENS // 2
        ):
            new.append(coming.pop())
        decoding = running if load.mixed or not new else []
        prefill = sum(one.row["input_tokens"] for one in new)
        noise = 1 + 0.1 * rng.random()
        linear_s = noise * (0.006 + 0.0002 * prefill + 0.0004 * len(decoding))
        attention_s = 0.3 * linear_s
        parts = {
            "schedule_s": 0.0002,
            "prepare_s": 0.0004,
            "attention_s": attention_s,
            "linear_s": linear_s,
            "sample_s": 0.0005,
            "host_s": 0.0003,
            "communicate_s": 0.0,
            "swap_s": 0.0,
        }
        start_s, now = now, now + sum(parts.values())
        for one in new:
            one.row["t_scheduled_s"] = start_s
        for one in (*decoding, *new):
            one.times_s.append(now)
        running = running + new
        used = [one.used for one in running]
        held = [-(-tokens // BLOCK) * BLOCK for tokens in used]
        final = [one.row["input_tokens"] + one.wanted - 1 for one in running]
        reserved = sum(max(0, min(h, f) - u) for h, f, u in zip(held, final, used, strict=True))
        waiting = 0
        while waiting < len(coming) and coming[-1 - waiting].row["t_send_s"] <= start_s:
            waiting += 1
        lost = [running[-1].row["request_id"]] if rng.random() < 0.01 else []
        steps.append(
            {
                "index": len(steps),
                "start_s": start_s,
                "end_s": now,
                "prefill_tokens": prefill,
                "decode_tokens": len(decoding),
                "prefill_requests": len(new),
                "decode_requests": len(decoding),
                "waiting": waiting,
                "running": len(running),
                "preempted": len(lost),
                "preempted_ids": lost,
                "refused": 0,
                "recomputed_tokens": 0,
                "prefix_hit_tokens": 0,
                "kv_useful_tokens": sum(used),
                "kv_reserved_tokens": reserved,
                "kv_internal_tokens": sum(held) - sum(used) - reserved,
                "kv_external_tokens": 0,
                "kv_shared_tokens": 0,
                "kv_capacity_tokens": CAPACITY_TOKENS,
                **parts,
                "chunk_request_ids": [one.row["request_id"] for one in (*new, *decoding)],
                "chunk_phases": ["prefill"] * len(new) + ["decode"] * len(decoding),
                "chunk_starts": [*(0 for _ in new), *(one.used - 1 for one in decoding)],
                "chunk_lengths": [
                    *(one.row["input_tokens"] for one in new),
                    *(1 for _ in decoding),
                ],
            }
        )
        done += [one for one in running if len(one.times_s) >= one.wanted]
        running = [one for one in running if len(one.times_s) < one.wanted]
    done.sort(key=lambda one: one.row["index"])
    requests = pd.DataFrame([_request_row(one) for one in done], columns=list(REQUEST_COLUMNS))
    return requests, pd.DataFrame(steps, columns=list(STEP_COLUMNS))


def _request_row(one: _Live) -> dict[str, Any]:
    row, times_s = one.row, one.times_s
    tokens, first_s, end_s = len(times_s), times_s[0], times_s[-1]
    return {
        **row,
        "t_first_s": first_s,
        "t_end_s": end_s,
        "output_tokens": tokens,
        "ttft_s": first_s - row["t_due_s"],
        "tpot_s": (end_s - first_s) / (tokens - 1) if tokens > 1 else float("nan"),
        "ntpot_s": (end_s - row["t_due_s"]) / tokens,
        "e2el_s": end_s - row["t_due_s"],
        "queue_s": row["t_scheduled_s"] - row["t_due_s"],
        "token_times_s": times_s,
    }


def make_run(
    name: str = "paged-awq", load: Load | None = None, *, with_quality: bool = True
) -> Run:
    """A run that is consistent with its own tables."""
    requests, steps = simulate(load or Load())
    return Run(name, make_result(requests, steps, with_quality=with_quality), requests, steps)


def make_result(
    requests: pd.DataFrame, steps: pd.DataFrame, *, with_quality: bool = True
) -> dict[str, Any]:
    """A `result.json` for the tables, checked against its schema."""
    served = requests[requests["status"] == "ok"]
    length_s = float(steps["end_s"].max()) if len(steps) else 0.0
    tokens = int(requests["output_tokens"].sum()) if len(requests) else 0
    states = {
        state: {
            "mean": float(steps[f"kv_{state}_tokens"].mean()) if len(steps) else 0.0,
            "peak": float(steps[f"kv_{state}_tokens"].max()) if len(steps) else 0.0,
        }
        for state in ("useful", "reserved", "internal", "external", "shared")
    }
    taken = sum(states[state]["mean"] for state in states if state != "shared")
    result = {
        "schema_version": 1,
        "run_id": "0123456789abcdef",
        "created_at": "2026-01-02T03:04:05+00:00",
        "status": "complete",
        "label": "",
        "config": make_config(),
        "environment": {
            "python": "3.11.9",
            "cpu": {"model": "A CPU", "usable_cores": 2, "isa": ["avx2", "fma"]},
            "memory_bytes": 16 * 2**30,
            "gpus": [],
            "packages": {"llmbench": "0.1.0", "torch": "2.13.0"},
            "git": None,
        },
        "validity": {
            "valid": True,
            "checks": [
                _check("complete", True, f"{len(requests)} requests ended"),
                _check("errors", True, f"{len(served)} of {len(requests)} requests served"),
                _check("steady", True, "steady window", fatal=False),
            ],
        },
        "workload": {
            "name": "azure-conv-small",
            "fingerprint": "f" * 64,
            "num_requests": len(requests),
            "description": {"arrivals": {"kind": "poisson", "rate_per_s": 4.0}, "seed": 1},
            "adjustments": ["3 of 32 prompts clipped to 900 tokens"],
        },
        "window": {
            "start_s": 0.1 * length_s,
            "end_s": 0.8 * length_s,
            "method": "MSER-5 over 200 bins",
            "steady": True,
        },
        "duration_s": length_s,
        "metrics": make_metrics(served, steps, tokens, length_s),
        "kv": {
            "kind": "paged",
            "capacity_tokens": CAPACITY_TOKENS,
            "capacity_bytes": CAPACITY_TOKENS * BYTES_PER_TOKEN,
            "bytes_per_token": BYTES_PER_TOKEN,
            **{f"{state}_tokens": share for state, share in states.items()},
            "waste_share": 1 - states["useful"]["mean"] / taken if taken else None,
        },
        "memory": {
            "weight_bytes": 77 * 2**20,
            "kv_bytes": CAPACITY_TOKENS * BYTES_PER_TOKEN,
            "peak_rss_bytes": 1200 * 2**20,
            "peak_device_bytes": None,
        },
        "counters": make_counters(requests, steps),
        "quality": QUALITY if with_quality else None,
        "attribution": make_attribution(requests, steps),
        "kernels": {"paged_attention": "cpu"},
    }
    return Result.model_validate(result).model_dump(mode="json")


def make_attribution(requests: pd.DataFrame, steps: pd.DataFrame) -> dict[str, Any] | None:
    timeline = timeline_of_tables(requests["request_id"].tolist(), steps)
    found = summarise_parts(attribute(records_of(requests), timeline), timeline)
    return None if found is None else found.model_dump(mode="json")


QUALITY = {
    "reference": "smollm2-135m in float32, unquantised",
    "perplexity": 21.7,
    "reference_perplexity": 20.1,
    "perplexity_text": "held-out text",
    "perplexity_window_tokens": 2048,
    "perplexity_tokens": 4094,
    "text_kl_mean": 0.0371,
    "text_kl_p99": 0.44,
    "text_top1_agreement": 0.901,
    "kl_mean": 0.0412,
    "kl_p99": 0.51,
    "top1_agreement": 0.883,
    "compared_tokens": 2011,
    "caveat": "the checkpoint was already 8-bit: the reference is not the original model",
}


def make_config(**changes: Any) -> dict[str, Any]:
    return {
        "model": "smollm2-135m",
        "model_family": "llama",
        "engine": "paged",
        "stands_for": STANDS_FOR,
        "batching": "separate",
        "admission": "optimistic",
        "kv": "paged",
        "block_size": BLOCK,
        "quant": "awq",
        "group_size": 64,
        "dtype": "float32",
        "device": "cpu",
        "max_num_seqs": 16,
        "max_num_batched_tokens": BUDGET_TOKENS,
        "max_model_len": 2048,
        "kv_memory_bytes": CAPACITY_TOKENS * BYTES_PER_TOKEN,
        "seed": 1,
        "workload": "azure-conv-small",
        "request_rate": 4.0,
        "max_concurrency": None,
        "num_requests": 32,
        "warmup_requests": 2,
        "slo": SLO_S,
        "command": "llmbench run --engine paged --quant awq",
        **changes,
    }


def make_metrics(
    served: pd.DataFrame, steps: pd.DataFrame, tokens: int, length_s: float
) -> dict[str, Any]:
    gaps = [np.diff(times) for times in served["token_times_s"]]
    samples = {
        name: served[f"{name}_s"].dropna().to_numpy(dtype=np.float64)
        for name in ("ttft", "tpot", "ntpot", "e2el", "queue")
    }
    found = {
        name: {"unit": "s", "better": "lower", "stats": describe(values)}
        for name, values in {**samples, "itl": np.concatenate([[], *gaps])}.items()
        if len(values)
    }
    if len(steps):
        width = (steps["prefill_tokens"] + steps["decode_tokens"]).tolist()
        found["batch_tokens"] = {"unit": "tokens", "better": "none", "stats": describe(width)}
    rate = tokens / length_s if length_s else 0.0
    found["output_throughput"] = _rate("tokens/s", 1.08 * rate, rate)
    found["request_throughput"] = _rate("requests/s", 4.1, 3.9)
    found["goodput"] = _rate("requests/s", 3.1, 3.0)
    if len(served):
        share = {"unit": "share", "better": "higher", "stats": {"run": 0.781}}
        found["goodput_share"] = share
    return found


def describe(values: ArrayLike) -> dict[str, float]:
    data = np.asarray(values, dtype=np.float64)
    named = zip(("p50", "p90", "p95", "p99"), np.percentile(data, (50, 90, 95, 99)), strict=True)
    return {
        "count": float(len(data)),
        "mean": float(data.mean()),
        "std": float(data.std()),
        "min": float(data.min()),
        **{name: float(value) for name, value in named},
        "max": float(data.max()),
    }


def make_counters(requests: pd.DataFrame, steps: pd.DataFrame) -> dict[str, int]:
    prefill, decode = steps["prefill_tokens"] > 0, steps["decode_tokens"] > 0
    statuses = requests["status"].tolist()
    return {
        "steps": len(steps),
        "prefill_steps": int((prefill & ~decode).sum()),
        "decode_steps": int((decode & ~prefill).sum()),
        "mixed_steps": int((prefill & decode).sum()),
        "prefill_tokens": int(steps["prefill_tokens"].sum()),
        "decode_tokens": int(steps["decode_tokens"].sum()),
        "output_tokens": int(requests["output_tokens"].sum()),
        "requests_ok": statuses.count("ok"),
        "requests_refused": statuses.count("refused"),
        "requests_unfinished": statuses.count("unfinished"),
        "preemptions": int(steps["preempted"].sum()),
        "recomputed_tokens": 0,
        "prefix_hit_tokens": 0,
        "swaps_out": 0,
        "requests_failed": 0,
        "kv_peak_held_tokens": int(steps["kv_useful_tokens"].max()) if len(steps) else 0,
    }


def _rate(unit: str, window: float, run: float) -> dict[str, Any]:
    return {"unit": unit, "better": "higher", "stats": {"window": window, "run": run}}


def _check(name: str, ok: bool, detail: str, *, fatal: bool = True) -> dict[str, Any]:
    return {"id": name, "ok": ok, "fatal": fatal, "value": None, "limit": None, "detail": detail}


def without_requests() -> Run:
    """A run in which nothing was served and no step ran."""
    requests, steps = simulate(Load(num_requests=4))
    requests = requests.assign(
        status="refused",
        detail="prompt longer than the model <b>",
        output_tokens=0,
        token_times_s=pd.Series([[] for _ in range(len(requests))], dtype=object),
        **{name: float("nan") for name in ("ttft_s", "tpot_s", "ntpot_s", "e2el_s", "queue_s")},
        t_first_s=float("nan"),
        t_end_s=float("nan"),
        t_scheduled_s=float("nan"),
    )
    steps = steps.iloc[:0]
    result = make_result(requests, steps, with_quality=False)
    result["validity"] = {
        "valid": False,
        "checks": [_check("errors", False, "0 of 4 requests served, 4 refused, 0 aborted")],
    }
    result["window"] |= {"steady": False, "method": "the whole run: nothing was served"}
    return Run("nothing-served", result, requests, steps)


def partial() -> Run:
    """A run that was interrupted."""
    run = make_run("interrupted")
    result = copy.deepcopy(dict(run.result))
    result["status"] = "partial"
    result["validity"] = {
        "valid": False,
        "checks": [_check("complete", False, "interrupted: 3 of 32 requests did not end")],
    }
    return Run(run.name, result, run.requests, run.steps)


def cautious() -> Run:
    """A valid run with a check that failed and is not fatal, no SLO and no steady window."""
    run = make_run("short", with_quality=False)
    result = copy.deepcopy(dict(run.result))
    result["validity"]["checks"].append(
        _check("tail", False, "32 served requests are too few for a p99", fatal=False)
    )
    result["config"]["slo"] = {}
    result["window"] |= {"steady": False, "start_s": 0.0, "end_s": result["duration_s"]}
    return Run(run.name, result, run.requests, run.steps)


def one_token_replies() -> Run:
    """Every reply has one token: no TPOT and no token gap anywhere."""
    return make_run("one-token", Load(num_requests=5, mean_output_tokens=1.0))


ODD: dict[str, Callable[[], Run]] = {
    "ordinary": make_run,
    "mixed": lambda: make_run("inflight", Load(mixed=True)),
    "nothing served": without_requests,
    "partial": partial,
    "cautious": cautious,
    "one request": lambda: make_run("alone", Load(num_requests=1)),
    "one-token replies": one_token_replies,
}


@pytest.fixture(scope="session")
def run() -> Run:
    return make_run()


@pytest.fixture(scope="session", params=list(ODD))
def any_run(request: pytest.FixtureRequest) -> Run:
    return ODD[request.param]()


@pytest.fixture(scope="session")
def long_run() -> Run:
    """20 000 requests and more than 30 000 steps: a shorter run, again and again."""
    requests, steps = simulate(
        Load(num_requests=500, rate_per_s=30.0, mean_input_tokens=60.0, mean_output_tokens=24.0)
    )
    lap_s = float(steps["end_s"].max()) + 0.5
    requests = pd.concat([_later(requests, lap, lap_s) for lap in range(40)], ignore_index=True)
    steps = pd.concat([_later(steps, lap, lap_s) for lap in range(40)], ignore_index=True)
    return Run("long", make_result(requests, steps), requests, steps)


def _later(frame: pd.DataFrame, lap: int, lap_s: float) -> pd.DataFrame:
    """The same requests or steps, so many laps later, as other requests."""
    moved, shift_s = frame.copy(), lap * lap_s
    if "request_id" in frame:
        moved["request_id"] = [f"{name}-{lap}" for name in frame["request_id"]]
    for column in ("chunk_request_ids", "preempted_ids"):
        if column in frame:
            moved[column] = [[f"{name}-{lap}" for name in names] for names in frame[column]]
    for column in ("start_s", "end_s", "t_due_s", "t_send_s", "t_scheduled_s", "t_first_s"):
        if column in frame:
            moved[column] = frame[column] + shift_s
    if "token_times_s" in frame:
        moved["t_end_s"] = frame["t_end_s"] + shift_s
        times_s = [np.asarray(times) + shift_s for times in frame["token_times_s"]]
        moved["token_times_s"] = pd.Series(times_s, index=frame.index)
    return moved
