"""A frontier to report on, with numbers set by hand: one method dominated, one not measured."""

from __future__ import annotations

from llmbench.reports.frontier_model import (
    KL,
    THROUGHPUT,
    Crossing,
    Frontier,
    FrontierClaim,
    FrontierMethod,
    FrontierSteps,
    MethodPair,
    StepsLine,
    TurningPoint,
)
from llmbench.reports.model import Comparison, MetricComparison, Ratio

AT = Crossing("at", 21.4, 1.0)
BEYOND = Crossing("beyond", 64.0, 1.0)
SENTENCE = "awq wins against unquantised up to batch 21, interpolated: 2.50× at batch 1."


def frontier(*, whole: bool = False, steps: bool = True) -> Frontier:
    methods = [
        FrontierMethod(
            "none",
            "unquantised",
            16,
            weight_bytes=200 * 2**20,
            output_tokens_per_s=100.0,
            tpot_mean_s=0.02,
            perplexity=20.0,
            text_kl_mean=0.0,
            text_top1_agreement=1.0,
            ratios={"output_tokens_per_s": 1.0, "weight_bytes": 1.0, "perplexity": 1.0},
        ),
        FrontierMethod(
            "awq",
            "4-bit <AWQ>",
            4,
            weight_bytes=60 * 2**20,
            output_tokens_per_s=150.0,
            tpot_mean_s=0.012,
            perplexity=20.6,
            text_kl_mean=0.031,
            text_top1_agreement=0.92,
            throughput_ratio=Ratio(1.5, 1.4, 1.6, "better"),
            perplexity_ratio=Ratio(1.03, 1.02, 1.05, "worse"),
            ratios={"output_tokens_per_s": 1.5, "weight_bytes": 0.3, "perplexity": 1.03},
            task_scores=(("a-task", "acc", 0.71, 0.02),),
        ),
        FrontierMethod(
            "fp8",
            "8-bit floats",
            8,
            emulated=True,
            weight_bytes=210 * 2**20,
            output_tokens_per_s=20.0,
            perplexity=19.9,
            text_kl_mean=0.002,
            text_top1_agreement=0.98,
            perplexity_ratio=Ratio(0.995, 0.99, 1.01, "inconclusive"),
            ratios={"output_tokens_per_s": 0.2, "weight_bytes": 1.05, "perplexity": 0.995},
            dominated_by=("none",),
        ),
        FrontierMethod("int8", "8-bit integers", None, reason="not measured: <no> memory"),
    ]
    return Frontier(
        model="smollm2-135m",
        baseline="none",
        setting=("smollm2-135m in bfloat16 on cpu", "60 requests of quick"),
        quality_of="4 094 tokens of held-out text, windows of 2 048",
        methods=tuple(methods[:3] if whole else methods),
        claims=(
            FrontierClaim("INT4 weights double throughput", "refuted", "It is 1.50×.", "awq"),
            FrontierClaim("FP8 is free", "partly", "Of quality only.", "fp8"),
        ),
        notes=("one run of each", "int8: not measured: <no> memory"),
        comparison=Comparison(
            ("none", "awq"),
            "none",
            (),
            True,
            (),
            (
                MetricComparison(
                    "output_throughput",
                    "window",
                    "tokens/s",
                    "higher",
                    (100.0, 150.0),
                    (None, Ratio(1.5, 1.4, 1.6, "better")),
                ),
            ),
            "",
        ),
        steps=_steps() if steps else None,
        command="llmbench run --quant none,awq",
        pairs=(
            MethodPair("none", "awq", {THROUGHPUT: Ratio(1.5, 1.4, 1.6, "better")}),
            MethodPair("awq", "fp8", {KL: Ratio(0.065, 0.05, 0.08, "better")}),
        ),
    )


def _steps() -> FrontierSteps:
    return FrontierSteps(
        (1, 8, 64),
        128,
        512,
        20e9,
        "measured",
        (
            StepsLine(
                "none",
                (20e9, 19e9),
                (0.010, 0.012, 0.05),
                (0.009, 0.01, 0.03),
                (1.0, 1.0, 1.0),
                0.4,
                1.0,
                2e11,
                (0.1, 0.05, 0.02),
            ),
            StepsLine(
                "awq",
                (18e9, 20e9),
                (0.004, 0.008, 0.08),
                (0.003, 0.004, 0.03),
                (2.5, 1.5, 0.625),
                0.5,
                0.8,
                2e11,
                (0.05, 0.01, 0.0),
            ),
        ),
        (
            TurningPoint(
                "awq", "none", (2.5, 1.5, 0.625), AT, BEYOND, None, SENTENCE, "For it widens."
            ),
        ),
    )
