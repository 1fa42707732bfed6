"""What runs side by side cannot say: what beside the engines differs, and what was not measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from ...engines.reads import why_unread
from ...reports.facts import NOT_SAID, UNKNOWN
from ...reports.format import listed, setting
from ..result import Result
from ..storage.settings import setting_of
from ..storage.store import StoredRun
from .output_lengths import length_warnings
from .text_quality import other_text
from .whole_steps import whole_step_notes

# What an engine is chosen by, and the settings that say it: weights are one choice, as they are
# typed, `awq+a8+int8-head`.
_CHOICES = {
    "batching": ("batching",),
    "admission": ("admission",),
    "kv": ("kv",),
    "quant": ("quant", "quant_activations", "quant_head"),
    "kv_dtype": ("kv_dtype",),
    "model_impl": ("model_impl",),
    "load_format": ("load_format",),
}
_UNSAID = "batching, admission, KV cache, KV memory or weights"
_THREADS = ("torch", "threads")
_ENVIRONMENT = {
    "CPU": ("cpu", "model"),
    "usable cores": ("cpu", "usable_cores"),
    "CPU quota": ("cpu", "cgroup_limit_cores"),
    "threads": _THREADS,
    "GPUs": ("gpus",),
    "Python": ("python",),
    "torch": ("packages", "torch"),
    "triton": ("packages", "triton"),
    "transformers": ("packages", "transformers"),
    "llmbench commit": ("git", "commit"),
}


def warnings(names: Sequence[str], runs: Sequence[StoredRun]) -> tuple[str, ...]:
    """What the numbers of these runs, side by side, cannot say."""
    results = [run.result for run in runs]
    found = _repeat_warnings(names, results)
    found.extend(setting_warnings(results))
    found.extend(differences(names, results))
    for name, result in zip(names, results, strict=True):
        found.extend(
            f"{name}: {check.detail}" for check in result.validity.failures if not check.fatal
        )
    return tuple(found)


def differences(names: Sequence[str], results: Sequence[Result]) -> list[str]:
    """What beside the settings may be why these results differ."""
    found = list(_http_warnings(names, results))
    found.extend(_unsaid(names, results))
    found.extend(whole_step_notes(names, results))
    ours = [result for result in results if says_requests(result)]
    if len({result.workload.fingerprint for result in ours}) > 1:
        found.append("the runs were not sent the same requests, so they are not paired")
    found.extend(length_warnings(names, results))
    if len({result.config.get("price_per_hour") for result in ours}) > 1:
        found.append("the runs were priced differently, and so are their tokens")
    texts = [result for result in results if result.quality is not None]
    others = dict.fromkeys(other_text(texts[0], one) for one in texts[1:])
    found.extend(f"{why}, so it does not compare" for why in others if why)
    # A run from another tool's file does not say where it ran.
    measured = [one for one in results if one.simulation is None and one.environment]
    # What a setting says, too, stands among the settings that differ.
    is_set = all(_at(one.environment, _THREADS) == one.config.get("threads") for one in measured)
    found.extend(
        environment_differences(
            [one.environment for one in measured], without=("threads",) if is_set else ()
        )
    )
    return found


def says(result: Result, name: str) -> bool:
    """Whether a setting is known, set or not: of an engine of ours all are. A library, a server and
    another tool's file keep most to themselves, which is no difference from anybody's."""
    config = result.config
    if config.get("batching") not in UNKNOWN:
        return True
    if name == "simulated":  # a server and a library were measured here
        return says_requests(result)
    value = config.get(name)
    return name in config and not (isinstance(value, str) and value in UNKNOWN)


def says_requests(result: Result) -> bool:
    """Whether it is known what the run was sent: another tool's file does not hold it."""
    return result.config.get("batching") != NOT_SAID


def _unsaid(names: Sequence[str], results: Sequence[Result]) -> Iterator[str]:
    """What some keep to themselves, once for all who do so alike."""
    silent = [pair for pair in zip(names, results, strict=True) if not says(pair[1], "batching")]
    for says_sent in (True, False):
        who = [name for name, result in silent if says_requests(result) == says_sent]
        if not who:
            continue
        one = len(who) == 1
        said = f"{listed(who)} {'does' if one else 'do'} not say {'its' if one else 'their'} "
        if says_sent:
            yield f"{said}{_UNSAID}: whether these differ is not known"
        else:
            sent = f"nor which requests {'it was' if one else 'they were'} sent"
            yield f"{said}{_UNSAID}, {sent}: whether these differ is not known, nothing is paired"


def disturbances(names: Sequence[str], results: Sequence[Result]) -> Iterator[str]:
    """Which runs had the machine not to themselves: that, too, may be why results differ."""
    for name, result in zip(names, results, strict=True):
        yield from (f"{name}: {check.detail}" for check in result.validity.disturbances)


def setting_warnings(results: Sequence[Result]) -> Iterator[str]:
    """What settings that differ keep a comparison from saying."""
    if _differs(results, "model"):
        yield "the runs served different models"
    if _differs(results, "kv_memory_bytes"):
        yield "the runs had different KV memory, which alone changes what can run at once"
    units = in_force(results, "chunk_unit")
    if len(units) > 1:
        yield (
            f"the runs cut prompts at multiples of {listed(units)} tokens, which alone changes "
            "what a step holds; --chunk-unit would make them equal"
        )
    choices = [choice for choice, settings in _CHOICES.items() if _differs(results, *settings)]
    if len(choices) > 1:
        yield (
            f"the engines differ in {listed(choices)} at once: no difference between them can be "
            "put down to one of these"
        )


def in_force(results: Sequence[Result], name: str) -> list[str]:
    """A setting's values as they are shown, once each, in the runs that read it and have it."""
    read = (one.config for one in results if not why_unread(name, one.config))
    values = (setting_of(config, name) for config in read)
    return list(dict.fromkeys(setting(name, value) for value in values if value is not None))


def _differs(results: Sequence[Result], *settings: str) -> bool:
    """Whether those that say these settings have them otherwise."""
    known = [one for one in results if all(says(one, name) for name in settings)]
    return len({str([setting_of(one.config, name) for name in settings]) for one in known}) > 1


def _repeat_warnings(names: Sequence[str], results: Sequence[Result]) -> list[str]:
    """What another run of the same settings would change."""
    kinds = [result.simulation for result in results]
    found: list[str] = []
    if None in kinds:
        found.append(
            "one run of each, one after the other: the intervals cover which requests were "
            "measured, not how a machine differs from run to run"
        )
    simulated = [name for name, kind in zip(names, kinds, strict=True) if kind is not None]
    if simulated and None in kinds:
        measured = [
            name
            for name, one in zip(names, results, strict=True)
            if one.simulation is None and says(one, "simulated")
        ]
        beside = f", {listed(measured)} measured" if measured else ""
        found.append(
            f"{listed(simulated)} simulated{beside}: how wrong the simulation is stands in every "
            "difference"
        )
    elif simulated:
        found.append(
            "simulated runs repeat exactly: the intervals cover which requests were sent, not how "
            "wrong the cost model is"
        )
        if len({(kind.cost_model, str(kind.efficiency)) for kind in kinds if kind}) > 1:
            found.append("the runs were simulated with different cost models")
    return found


def _http_warnings(names: Sequence[str], results: Sequence[Result]) -> Iterator[str]:
    """What a client over HTTP adds to the latencies of a server, and only to those."""
    for name, result in zip(names, results, strict=True):
        if result.target is None:
            continue
        error = result.client_error
        how_wrong = (
            "and the client's own error is not known (llmbench calibrate-client)"
            if error is None
            else f"where the client is off by up to {1e3 * error.ttft.p99_s:.2g} ms in TTFT and "
            f"{1e3 * error.itl.p99_s:.2g} ms in ITL at p99"
        )
        yield f"{name} was measured over HTTP, {how_wrong}"


def environment_differences(
    environments: Sequence[Mapping[str, Any]], *, without: Sequence[str] = ()
) -> list[str]:
    """Hardware and software that are not the same in all. without: names that are not told."""
    found = []
    for name, path in _ENVIRONMENT.items():
        if name in without:
            continue
        values = [_at(environment, path) for environment in environments]
        if any(value != values[0] for value in values):
            found.append(f"the environments differ in {name}: {_in_order(values)}")
    return found


def _in_order(values: Sequence[object]) -> str:
    """Values of runs, those that follow each other once, and of a commit as much as tells it."""
    shown = [re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28}\b", r"\1", str(value)) for value in values]
    runs = [(value, len(list(group))) for value, group in groupby(shown)]
    return " / ".join(value if count == 1 else f"{value} ({count} runs)" for value, count in runs)


def _at(environment: Mapping[str, Any], path: tuple[str, ...]) -> object:
    value: Any = environment
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
