"""Kwon et al., SOSP 2023: paging leaves next to nothing of the KV cache unused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...reports.claims_model import Claim, ClaimVerdict, Evidence
from ...reports.format import percent
from .runs import Made, Options, Runs

NAME = "kv-waste"
TITLE = "KV waste"
SAYS = "Paging cuts KV cache waste by up to 96 %"
JUDGED = "waste, as a share of what is taken, falls by 96 % or more of itself; “up to”: anywhere"
CUT = 0.96
# What a run on this machine reserves room for: so few that it is full, as in the paper.
SEQUENCES, LONGEST_TOKENS = 4, 2048


@dataclass(frozen=True)
class Pair:
    """The same requests over a contiguous and a paged cache."""

    setting: str
    contiguous: Options
    paged: Options


_A100 = {"model": "llama-2-13b", "hardware": "a100", "kv-memory": "12GiB"}
_AT_ONCE = {"workload": "azure-conv", "request-rate": "inf", "max-input-len": 3096}
_AZURE = {**_A100, **_AT_ONCE, "num-requests": 1000, "engine": "orca"}
SIMULATED = tuple(
    Pair(
        f"Llama-2-13B on an A100 of 40 GB, 1 000 Azure conversations at once, {what}",
        {**_AZURE, "kv-reservation": reservation},
        {**_AZURE, "kv": "paged"},
    )
    for what, reservation in (
        ("each with room for the longest sequence → blocks of 16", "max"),
        ("each with room for a power of two → blocks of 16", "pow2"),
        ("each with its own length, known before → blocks of 16", "oracle"),
    )
)


def measured_pair(model: str, bytes_per_token: int, longest_tokens: int) -> Pair:
    """One choice changed on this machine. bytes_per_token: of keys and values."""
    longest = min(LONGEST_TOKENS, longest_tokens)
    same = {
        "model": model,
        "engine": "inflight",
        "num-requests": 240,
        "max-concurrency": 32,
        "kv-memory": SEQUENCES * longest * bytes_per_token,
        "max-model-len": longest,
        "quality-tokens": 0,
    }
    what = f"room for {SEQUENCES} sequences of {longest} → blocks of the same memory"
    return Pair(
        f"{model}, 240 requests of quick, {what}",
        {**same, "kv": "contiguous"},
        {**same, "kv": "paged"},
    )


def examine(runs: Runs, model: str, /, *, measure: bool) -> Claim:
    evidence = tuple(_evidence(runs, model, measure=measure))
    return Claim(NAME, TITLE, SAYS, JUDGED, verdict(evidence), evidence)


def verdict(evidence: tuple[Evidence, ...]) -> ClaimVerdict:
    """“Up to” is true if it is true once."""
    held = [one.held for one in evidence if one.held is not None]
    if not held:
        return "undecided"
    return "confirmed" if any(held) else "refuted"


def _evidence(runs: Runs, model: str, *, measure: bool) -> Iterator[Evidence]:
    for pair in SIMULATED:
        yield judge(pair.setting, runs.simulated(pair.contiguous), runs.simulated(pair.paged))
    if measure:
        pair = measured_pair(model, *_shape_of(model))
        yield judge(pair.setting, runs.measured(pair.contiguous), runs.measured(pair.paged))


def _shape_of(model: str) -> tuple[int, int]:
    """Bytes of keys and values a token, and the longest sequence."""
    from ...engines.config import engine_config
    from ...engines.models.catalogue import resolve_model
    from ...engines.models.describe import describe_model
    from ...engines.resolve import resolve

    files = resolve_model(model)
    config = describe_model(files.directory).config
    dtype = resolve(engine_config("inflight", kv="paged"), files).dtype
    return config.kv_bytes_per_token(dtype, "auto"), config.max_position_embeddings


def judge(setting: str, contiguous: Made, paged: Made) -> Evidence:
    """A share of room, averaged over time: the load makes it, not the machine's speed."""
    before, after = (one.value("kv.waste_share") for one in (contiguous, paged))
    cut = 1 - after / before if before else 0.0
    usable = not (contiguous.objections or paged.objections)
    return Evidence(
        setting,
        f"waste {percent(before)} → {percent(after)}: {percent(cut)} less",
        (cut >= CUT) if usable else None,
        contiguous.simulated,
        (contiguous.command, paged.command),
    )
