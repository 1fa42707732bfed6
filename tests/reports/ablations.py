"""A factorial to report on, with numbers set by hand: two axes, one cell that was not run."""

from __future__ import annotations

from llmbench.reports.ablation_model import (
    Ablation,
    AblationAxis,
    AblationCell,
    AblationChange,
    AblationEffect,
    AblationResponse,
    Conditional,
)

BATCHING = AblationChange(
    "batching", "separate", "mixed", "batching separate → mixed", "mixed batching"
)
KV = AblationChange("kv", "paged", "contiguous", "kv paged → contiguous", "contiguous KV")
SENTENCE = (
    "kv paged → contiguous: TTFT mean 4.20× [3.80, 4.60]: queueing (97 % of it): mean queue "
    "0.1 s → 1.9 s, because of KV capacity: at most 20 → 8 requests run at a time."
)
DEPENDS = "batching separate → mixed: TTFT mean +12 % with paged KV but −40 % with contiguous KV."
MECHANISM: dict[str, float | None] = {
    "queue_s": 0.1,
    "queue_share": 0.5,
    "interference_s": 0.002,
    "spanned_share": 0.2,
    "running": 9.7,
    "running_peak": 20.0,
    "blocked_share": 0.0,
    "closed_share": 0.0,
    "waste_share": None,
    "preemptions": 0.0,
    "recomputed_share": 0.0,
    "decode_s": 0.006,
    "residence_s": 0.009,
}


def ablation(*, whole: bool = False) -> Ablation:
    cells = [
        AblationCell(
            f"batching={batching},kv={kv}",
            (batching, kv),
            "measured",
            {"ttft.mean": 0.2, "kv.waste_share": 0.05, "counters.steps": 900.0},
            MECHANISM,
        )
        for batching in ("separate", "mixed")
        for kv in ("paged", "contiguous")
    ]
    if not whole:
        cells[3] = AblationCell(
            "batching=mixed,kv=contiguous", ("mixed", "contiguous"), "not run", reason="<no> room"
        )
    return Ablation(
        title="batching × kv",
        setting=("bundled in float32 on cpu", "320 requests of quick in every cell"),
        repeats=1,
        simulated=False,
        axes=(
            AblationAxis("batching", ("separate", "mixed")),
            AblationAxis("kv", ("paged", "contiguous")),
        ),
        responses=(
            AblationResponse("ttft", "mean", "s", "lower", "ratio"),
            AblationResponse(
                "kv", "waste_share", "share", "lower", "difference", "too few requests"
            ),
            AblationResponse("counters", "steps", "steps", "lower", "difference"),
        ),
        cells=tuple(cells),
        effects=(
            AblationEffect((BATCHING,), "ttft.mean", 0.97, 0.9, 1.05, 0.9, False),
            AblationEffect(
                *((KV,), "ttft.mean", 4.2, 3.8, 4.6, 1e-9, True, (), SENTENCE),
                shares={"queue": 0.97, "own_prefill": 0.0, "decode": 0.03},
            ),
            AblationEffect(
                (BATCHING, KV),
                "ttft.mean",
                0.54,
                0.4,
                0.7,
                1e-4,
                True,
                (
                    Conditional("paged KV", 1.12, 1.1, 1.14),
                    Conditional("contiguous KV", 0.6, 0.5, 0.7),
                ),
                DEPENDS,
            ),
            AblationEffect((KV,), "kv.waste_share", 0.63, 0.62, 0.64, None, False),
            AblationEffect((BATCHING,), "counters.steps", -68.0, None, None, None, False),
        ),
        sentences=(SENTENCE, DEPENDS),
        notes=("one run of each cell: the intervals cover which requests were sent",),
        command="llmbench ablate --axes batching,kv",
    )
