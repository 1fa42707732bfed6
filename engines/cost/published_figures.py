"""Throughput that NVIDIA measured, and with which settings.

Source of the figures: NVIDIA, TensorRT-LLM performance overview (docs/source/performance/
perf-overview.md of NVIDIA/TensorRT-LLM, release 1.0): FP8 checkpoints, `trtllm-bench throughput`,
all requests sent at once, random tokens, fixed lengths, total output tokens a second. KV is in FP8,
as in those checkpoints: at 20000/2000 an H100 has not the bandwidth to read it in 16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """Output tokens a second of a shape: input and output tokens of every request."""

    input_tokens: int
    output_tokens: int
    tokens_per_s: float


# Eight shapes from short to long, in published order: those that factors are fitted to.
H100_LLAMA_31_8B_FP8 = (
    PublishedRow(128, 128, 28_312),
    PublishedRow(128, 2048, 22_714),
    PublishedRow(500, 2000, 17_660),
    PublishedRow(1000, 1000, 15_220),
    PublishedRow(2048, 128, 3_450),
    PublishedRow(2048, 2048, 9_305),
    PublishedRow(5000, 500, 3_459),
    PublishedRow(20000, 2000, 1_351),
)
# Never fitted: two more shapes of the same column, and the same model on an H200.
H100_MORE = (PublishedRow(128, 4096, 14_325), PublishedRow(1000, 2000, 13_899))
H200_LLAMA_31_8B_FP8 = (
    PublishedRow(128, 128, 27_911),
    PublishedRow(128, 2048, 26_221),
    PublishedRow(500, 2000, 20_770),
    PublishedRow(1000, 1000, 17_744),
    PublishedRow(2048, 128, 3_538),
    PublishedRow(2048, 2048, 12_194),
    PublishedRow(5000, 500, 3_902),
    PublishedRow(20000, 2000, 1_804),
)
# Another model and two devices: Llama-3.3-70B has the shape of Llama-3.1-70B.
H100_LLAMA_33_70B_FP8_TP2 = (
    PublishedRow(128, 128, 6_378),
    PublishedRow(128, 2048, 6_651),
    PublishedRow(500, 2000, 5_222),
    PublishedRow(1000, 1000, 4_205),
    PublishedRow(2048, 128, 762),
    PublishedRow(2048, 2048, 3_082),
    PublishedRow(5000, 500, 898),
    PublishedRow(20000, 2000, 437),
)
FREE_MEMORY_FRACTION = 0.9  # the overview's default; it says "in many cases" 0.95
# trtllm-bench's own tuning (tensorrt_llm/bench/build/tuning.py) takes as many requests as fit up to
# 4096, and a token budget of that many times (1 + input / output): what an average step here holds.
MAX_BATCH_SIZE = 4096
