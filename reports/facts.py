"""Short questions to a run that several parts of a report ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .format import is_present, plural
from .model import Run
from .tails import PERCENTILES, highest_percentile
from .thinning import Floats

# What a configuration holds for a choice that nobody here knows: a library or a server keeps it to
# itself, or another tool's file does not have it.
LIBRARYS_OWN, SERVERS_OWN, NOT_SAID = "the library's own", "the server's own", "not said"
UNKNOWN = frozenset((LIBRARYS_OWN, SERVERS_OWN, NOT_SAID))


def served(run: Run) -> pd.DataFrame:
    """The requests that ended well: the only ones in a latency."""
    return run.requests[run.requests["status"] == "ok"]


def comes_by_itself(run: Run) -> bool:
    """Whether requests were due at set times; False in a closed loop, and where nobody says."""
    kind = (run.result["workload"]["description"].get("arrivals") or {}).get("kind")
    return kind is not None and kind != "closed_loop"


def replies_asked(run: Run) -> int:
    """Several of a request that was to be sampled so often; what the counts of requests sum to."""
    counters = run.result["counters"]
    return sum(counters[f"requests_{end}"] for end in ("ok", "refused", "failed", "unfinished"))


def counted_as(config: Mapping[str, Any]) -> tuple[str, str]:
    """What a run's counts and rates of requests count, one and many: replies, where it asked for
    several of each prompt."""
    return ("reply", "replies") if (config.get("samples") or 1) > 1 else ("request", "requests")


def unit_counted(unit: str, *configs: Mapping[str, Any]) -> str:
    """A metric's unit, by `counted_as` of all runs that it is for: "requests/s", "replies/s", or
    "requests or replies/s" where only some of them count replies."""
    many = sorted({counted_as(config)[1] for config in configs}, reverse=True)
    return unit.replace("requests", " or ".join(many) or "requests")


def floats(frame: pd.DataFrame, column: str) -> Floats:
    """A numeric column as float64, NaN where absent; also of an empty frame without a dtype."""
    return frame[column].to_numpy(dtype=np.float64)


def stat(run: Run, metric: str, name: str) -> float | None:
    """One statistic of one metric; None if the run has none."""
    stats: Mapping[str, Any] = run.result["metrics"].get(metric, {}).get("stats", {})
    value = stats.get(name)
    return float(value) if value is not None and is_present(value) else None


@dataclass(frozen=True)
class Tail:
    """The end of a latency that a run's samples can show. percentile: None where they are too few
    for any, and value_s is the greatest. counted: what a sample is of, by `counted_as`."""

    percentile: int | None
    value_s: float | None
    samples: int
    counted: tuple[str, str] = ("request", "requests")

    @property
    def name(self) -> str:
        return "max" if self.percentile is None else f"p{self.percentile}"

    @property
    def lacking(self) -> str:
        """That it is not p99, and why; empty if it is. Of a metric with a sample a request."""
        if self.percentile == PERCENTILES[0]:
            return ""
        return f"too few for a p{PERCENTILES[0]}: {plural(self.samples, *self.counted)}"


def tail_of(run: Run, metric: str) -> Tail:
    """The highest percentile that has a sample beyond it, by the rule of the check `tail`."""
    held = stat(run, metric, "count")
    samples = run.result["counters"]["requests_ok"] if held is None else int(held)
    highest = highest_percentile(samples)
    value_s = stat(run, metric, "max" if highest is None else f"p{highest}")
    return Tail(highest, value_s, samples, counted_as(run.result["config"]))


def slo_s(run: Run) -> dict[str, float]:
    """The limits that were set, in seconds by metric id."""
    return dict(run.result["config"].get("slo") or {})


def steady_span(run: Run) -> tuple[float, float] | None:
    """The steady window in seconds, if it is not the whole run."""
    window = run.result["window"]
    return (window["start_s"], window["end_s"]) if window["steady"] else None


def failures(run: Run) -> list[Mapping[str, Any]]:
    """The checks that failed, fatal ones first."""
    failed = [check for check in run.result["validity"]["checks"] if not check["ok"]]
    return sorted(failed, key=lambda check: not check["fatal"])


def told(check: Mapping[str, Any]) -> str:
    """What a check found, and what follows from it."""
    return f"{check['detail']}: {check['advice']}" if check.get("advice") else str(check["detail"])


def step_durations_s(run: Run) -> Floats:
    return floats(run.steps, "end_s") - floats(run.steps, "start_s")


def token_gaps_s(frame: pd.DataFrame) -> Floats:
    """Every gap between two tokens of one reply, replies after each other."""
    times = [np.asarray(of_one, dtype=np.float64) for of_one in frame["token_times_s"]]
    times = [of_one for of_one in times if len(of_one)]
    if not times:
        return np.empty(0)
    gaps = np.diff(np.concatenate(times))
    # A gap from one reply's last token to the next reply's first is none.
    between = np.cumsum([len(of_one) for of_one in times])[:-1] - 1
    return np.delete(gaps, between)


def engine_name(run: Run) -> str:
    """ "paged + awq + int8 KV", or the engine alone when nothing is quantised."""
    config = run.result["config"]
    if is_server(run) or config.get("quant") in UNKNOWN:
        return str(config["engine"])
    quant, kv_dtype = config.get("quant") or "none", config.get("kv_dtype") or "auto"
    parts = (
        []
        if quant == "none"
        else [
            quant
            + _activations(config)
            + _bits(config)
            + (" (emulated)" if is_emulated(run) else "")
        ]
    )
    if (head := config.get("quant_head") or "auto") != "auto":
        parts.append(f"{'plain' if head == 'none' else head} head")
    if kv_dtype != "auto":
        parts.append(f"{kv_dtype} KV")
    engine = config["engine"]
    return " + ".join([engine, *parts]) if parts else f"{engine}, unquantised"


def _bits(config: Mapping[str, Any]) -> str:
    """Of a weight, where they are not the method's usual."""
    return f" ({config['quant_bits']} bits)" if config.get("quant_bits") else ""


def _activations(config: Mapping[str, Any]) -> str:
    """As `--quant` says those that are rounded and would not be."""
    return "+a8" if config.get("quant_activations") == "int8" else ""


def is_server(run: Run) -> bool:
    """Whether a server was driven, of which only the replies are seen."""
    return run.result.get("target") is not None


def knows_steps(run: Run) -> bool:
    """Whether steps were seen, as those of a server are not."""
    return run.result["counters"]["steps"] is not None


def may_end_early(run: Run) -> bool:
    """Whether a model could end its replies before the lengths that were asked for."""
    return (run.result.get("target") or {}).get("output_lengths") == "at-most"


def client_error_s(run: Run, metric: str) -> float | None:
    """How far the client's own clock may be off in a latency, p99; None where that is not known."""
    found = run.result.get("client_error") or {}
    return found[metric]["p99_s"] if metric in found else None


def is_emulated(run: Run) -> bool:
    """Whether a method was computed in another arithmetic than its own."""
    return bool(run.result.get("emulated"))


def axes(run: Run) -> str:
    """The choices the engine is made of, one by one: a preset may have been overridden."""
    config = run.result["config"]
    if (target := run.result.get("target")) is not None:
        prompts = "prompts as text" if target["prompt_as"] == "text" else "prompts as token ids"
        lengths = " · replies may end early" if may_end_early(run) else ""
        return f"a server's {target['endpoint']} endpoint, streaming · {prompts}{lengths}"
    if (why := config.get("batching")) in UNKNOWN:
        return f"batching, admission, KV cache and weights: {why}"
    parts = [f"{config.get('batching')} batching", f"{config.get('admission')} admission"]
    if config.get("kv") == "paged":
        parts.append(f"paged KV, {config.get('block_size')} tokens a block")
    else:
        parts.append(f"{config.get('kv')} KV, {config.get('kv_reservation')} reservation")
    if config.get("kv_dtype") not in (None, "auto"):
        parts.append(f"{config['kv_dtype']} keys and values")
    if config.get("quant") not in (None, "none"):
        group = f", groups of {config['group_size']}" if config.get("group_size") else ""
        parts.append(f"{config['quant']} weights{_bits(config)}{group}")
    if config.get("quant_activations") == "int8":
        parts.append("8-bit activations")
    if (config.get("quant_head") or "auto") != "auto":
        parts.append(f"output projection {config['quant_head']}")
    if config.get("model_impl") == "transformers":
        parts.append("computed by transformers")
    return " · ".join(parts)


def keeps_to_itself(run: Run) -> bool:
    """Whether most settings are not known: those of a library, a server or another tool's file."""
    return run.result["config"].get("batching") in UNKNOWN


def has_random_weights(run: Run) -> bool:
    """Whether the model was made of its config alone."""
    return run.result["config"].get("load_format") == "dummy"


def simulated_on(run: Run) -> str | None:
    """The machine of a simulated run, "4 × h100"; None for a measured one."""
    return _simulated_machine(run.result)


def _simulated_machine(result: Mapping[str, Any]) -> str | None:
    found = result.get("simulation")
    if found is None:
        return None
    devices = found["devices"]
    return f"{devices}\u00a0×\u00a0{found['hardware']}" if devices > 1 else str(found["hardware"])


def hardware(run: Run) -> str:
    """ "float32 on NVIDIA H200", as far as the run knows what it ran on."""
    return hardware_of(run.result)


def hardware_of(result: Mapping[str, Any]) -> str:
    """As `hardware`. result: of `config`, `environment`, `simulation` and `target` at least."""
    config, environment = result["config"], result["environment"]
    if (simulated := _simulated_machine(result)) is not None:
        return f"{config.get('dtype')} on a simulated {simulated}"
    if (target := result.get("target")) is not None:
        return f"at {target['base_url']}"
    device, dtype = config.get("device"), config.get("dtype")
    if device is None:
        return f"{f'{dtype} ' if dtype else ''}on hardware that is not said"
    if str(device).startswith("cuda"):
        names = [gpu.get("name") for gpu in environment.get("gpus") or ()]
    else:
        names = [(environment.get("cpu") or {}).get("model")]
    return f"{dtype} on {next(filter(None, names), device)}"
