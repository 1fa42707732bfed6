"""MFU and MBU of steps worked by hand, and of a published model on a published device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.engines.cost.floor import Roof
from llmbench.engines.cost.shapes import resolve_shape
from llmbench.engines.cost.work import ModelWork, model_work
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.trace import StepTrace
from llmbench.harness.metrics import UTILISATION_STATS, UTILISATIONS
from llmbench.harness.metrics.mbu import ModelBandwidthUtilisation
from llmbench.harness.metrics.mfu import ModelFlopsUtilisation
from llmbench.harness.metrics.utilisation import steps_done

from ..observed import make_step

# Two layers of hidden size 8 with 2 heads and 1 KV head of 4, an MLP of 16, 32 words, two bytes.
TOY = replace(
    resolve_shape("llama-3-8b"),
    vocab_size=32,
    hidden_size=8,
    intermediate_size=16,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=4,
    tie_word_embeddings=False,
    dtype="bfloat16",
)
# A layer's weights: q 8x8, k and v 8x4 each, output 8x8, gate and up 8x16 each, down 16x8.
LAYER = 64 + 2 * 32 + 64 + 2 * 128 + 128
LINEAR, HEAD = 2 * LAYER, 32 * 8
KV_BYTES = 2 * 2 * 1 * 4 * 2  # K and V, layers, KV heads, head_dim, bytes
PEAKS = Roof(bytes_per_s=1e4, flops_per_s=1e5, source="a test")


def toy_steps() -> list[StepTrace]:
    """A prompt of 3, a step of another's prompt beside a decode, then a decode; a second idle."""
    return [
        make_step([("a", "prefill", 0, 3)], start_s=0.0, end_s=0.5),
        make_step([("b", "prefill", 0, 2), ("a", "decode", 3, 1)], start_s=0.5, end_s=1.0),
        make_step([("a", "decode", 4, 1), ("b", "decode", 2, 1)], start_s=2.0, end_s=2.25),
    ]


def test_the_work_of_two_layers_counted_by_hand() -> None:
    prefill, mixed, decode = steps_done(toy_steps(), model_work(TOY))
    pair = 2 * 2 * 2 * 4 * 2  # QK^T and PV, multiplication and addition, heads, head_dim, layers

    assert (prefill.kind, mixed.kind, decode.kind) == ("prefill", "mixed", "decode")
    assert prefill.flops == 3 * 2 * LINEAR + (1 + 2 + 3) * pair + 2 * HEAD
    assert mixed.flops == 3 * 2 * LINEAR + (1 + 2 + 4) * pair + 2 * 2 * HEAD
    assert decode.flops == 2 * 2 * LINEAR + (5 + 3) * pair + 2 * 2 * HEAD
    # Weights once, in two bytes; keys and values: 3 read and 3 written, and so on.
    assert prefill.bytes_moved == 2 * (LINEAR + HEAD) + (3 + 3) * KV_BYTES
    assert mixed.bytes_moved == 2 * (LINEAR + HEAD) + (2 + 2 + 4 + 1) * KV_BYTES
    assert decode.bytes_moved == 2 * (LINEAR + HEAD) + (5 + 3 + 2) * KV_BYTES


def test_shares_are_over_the_time_of_a_kind_and_of_the_run() -> None:
    done = steps_done(toy_steps(), model_work(TOY))
    mfu = ModelFlopsUtilisation().of(done, 2.5, PEAKS)
    mbu = ModelBandwidthUtilisation().of(done, 2.5, PEAKS)

    assert mfu["prefill"] == pytest.approx(done[0].flops / (0.5 * 1e5))
    assert mbu["decode"] == pytest.approx(done[2].bytes_moved / (0.25 * 1e4))
    # The second in which nothing ran counts in the run, and in no kind of step.
    assert mfu["run"] == pytest.approx(sum(one.flops for one in done) / (2.5 * 1e5))
    assert set(mbu) == set(UTILISATION_STATS)


def test_a_long_step_counts_for_more_than_a_short_one() -> None:
    short, long = (
        make_step([("a", "decode", 9, 1)], start_s=0.0, end_s=end_s) for end_s in (1.0, 3.0)
    )
    done = steps_done([short, long], model_work(TOY))
    found = ModelBandwidthUtilisation().of(done, 4.0, PEAKS)["decode"]
    assert found == pytest.approx(2 * done[0].bytes_moved / 4.0 / 1e4)


def test_a_kind_that_did_not_occur_is_absent_and_an_empty_step_is_no_step() -> None:
    done = steps_done([make_step([], end_s=5.0), toy_steps()[2]], model_work(TOY))
    assert [one.kind for one in done] == ["decode"]
    assert set(ModelFlopsUtilisation().of(done, 1.0, PEAKS)) == {"run", "decode"}
    assert ModelFlopsUtilisation().of([], 0.0, PEAKS) == {}


def test_more_than_the_peak_is_shown_as_it_is() -> None:
    done = steps_done(toy_steps(), model_work(TOY))
    assert ModelBandwidthUtilisation().of(done, 2.25, Roof(1.0, 1.0, "wrong"))["decode"] > 1


def llama_decode(duration_s: float) -> list[StepTrace]:
    return [make_step([("a", "decode", 127, 1)], end_s=duration_s)]


def test_llama_3_8b_decoding_alone_on_an_h100() -> None:
    """16.06 GB of weights, of which the embedding, 128256 x 4096, is not read: 15.01 GB a token. At
    3.35 TB/s that is 4.48 ms; a step of 7 ms uses 64 % of the bandwidth."""
    work: ModelWork = model_work(resolve_shape("llama-3-8b"))
    h100 = Roof(3.35e12, 989.5e12, "datasheet")
    (step,) = steps_done(llama_decode(0.007), work)

    assert work.stored_bytes == pytest.approx(16.06e9, rel=1e-3)
    weights = 16.06e9 - 128256 * 4096 * 2
    assert step.bytes_moved == pytest.approx(weights, rel=2e-3)
    mbu = ModelBandwidthUtilisation().of([step], 0.007, h100)["decode"]
    assert mbu == pytest.approx(weights / 0.007 / 3.35e12, rel=2e-3)
    assert mbu == pytest.approx(0.64, abs=0.003)
    # Two operations a parameter read, and 4 x 32 layers x 4096 for each of 128 keys.
    flops = 2 * weights / 2 + 4 * 32 * 4096 * 128
    mfu = ModelFlopsUtilisation().of([step], 0.007, h100)["decode"]
    assert mfu == pytest.approx(flops / 0.007 / 989.5e12, rel=2e-3)


def test_palms_formula_of_a_prompt_up_to_the_causal_mask() -> None:
    """PaLM, appendix B: 6N + 12 L H Q T a token of training, of which a forward pass is a third:
    2N + 4 L H Q T. Here N are the weights used, and a mean token attends (T + 1) / 2 keys."""
    shape, tokens = resolve_shape("llama-3-8b"), 2048
    prefill = make_step([("a", "prefill", 0, tokens)], end_s=0.25)
    (step,) = steps_done([prefill], model_work(shape))
    layers_only = 2 * (8.03e9 - 2 * 128256 * 4096)
    attention = 4 * 32 * 32 * 128 * (tokens + 1) / 2
    assert step.flops / tokens == pytest.approx(layers_only + attention, rel=1e-3)


@pytest.mark.parametrize("field", ["num_layers", "intermediate_size"])
def test_twice_the_model_is_twice_the_work_of_that_part(field: str) -> None:
    larger: ModelConfig = replace(TOY, **{field: 2 * getattr(TOY, field)})
    (one,) = steps_done(toy_steps()[:1], model_work(TOY))
    (two,) = steps_done(toy_steps()[:1], model_work(larger))
    added = {"num_layers": 2 * LAYER, "intermediate_size": 2 * 3 * 128}[field]
    assert two.bytes_moved - one.bytes_moved >= 2 * added


def test_both_shares_say_what_they_are() -> None:
    assert {(one.id, one.unit, one.better) for one in UTILISATIONS} == {
        ("mfu", "share", "higher"),
        ("mbu", "share", "higher"),
    }
