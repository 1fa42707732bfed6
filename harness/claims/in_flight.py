"""Yu et al., OSDI 2022 (Orca), and TensorRT-LLM's in-flight batching: requests join and leave the
batch at every step instead of with the batch."""

from __future__ import annotations

from collections.abc import Iterator

from ...reports.claims_model import Claim, Evidence, verdict_of
from .runs import Made, Options, Runs, change

NAME = "in-flight"
TITLE = "In-flight batching"
SAYS = "In-flight batching raises utilisation and cuts latency"
JUDGED = (
    "utilisation: more requests a step and more output tokens a second; latency: shorter requests "
    "on average. The rest of the engine and the load stay what they are"
)
OTHERS = {
    "static": "batches of whole requests",
    "separate": "continuous, prompts and decodes in steps of their own",
}
_H100 = {"model": "llama-3-8b", "hardware": "h100", "engine": "trtllm", "workload": "azure-conv"}
SIMULATED: Options = {**_H100, "max-concurrency": 64, "num-requests": 1000}


def measured_options(model: str) -> Options:
    """So many requests that the bundled model's run is not too short to say anything."""
    return {"model": model, "engine": "trtllm", "num-requests": 480, "quality-tokens": 0}


def examine(runs: Runs, model: str, /, *, measure: bool) -> Claim:
    evidence = tuple(_evidence(runs, model, measure=measure))
    return Claim(NAME, TITLE, SAYS, JUDGED, verdict_of([one.held for one in evidence]), evidence)


def _evidence(runs: Runs, model: str, *, measure: bool) -> Iterator[Evidence]:
    for batching in OTHERS:
        before, after = (
            runs.simulated({**SIMULATED, "batching": one}) for one in (batching, "mixed")
        )
        where = "Llama-3-8B on an H100, 64 Azure conversations at a time"
        yield from judge(where, batching, before, after)
    if measure:
        options = measured_options(model)
        for batching in OTHERS:
            before, after = (
                runs.measured({**options, "batching": one}) for one in (batching, "mixed")
            )
            yield from judge(f"{model}, 8 requests of quick at a time", batching, before, after)


def judge(where: str, batching: str, before: Made, after: Made) -> Iterator[Evidence]:
    """Utilisation, then latency, against the batching that in-flight batching replaces."""
    setting = f"{where}, against {batching} batching ({OTHERS[batching]})"
    commands = (before.command, after.command)
    batch, speed, whole, first, gap = (
        change(before, after, name)
        for name in (
            *("batch_requests.mean", "output_throughput.run"),
            *("e2el.mean", "ttft.mean", "itl.p99"),
        )
    )
    yield Evidence(
        setting,
        f"utilisation: a step holds {batch}; output {speed}",
        _both(batch.rose(), speed.rose()),
        before.simulated,
        commands,
    )
    yield Evidence(
        setting,
        f"latency: a request takes {whole}; first token {first}; p99 between tokens {gap}",
        whole.fell(),
        before.simulated,
        commands,
    )


def _both(one: bool | None, other: bool | None) -> bool | None:
    """False as soon as one is false."""
    if one is False or other is False:
        return False
    return None if one is None or other is None else True
