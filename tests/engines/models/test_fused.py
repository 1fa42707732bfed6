"""Which steps of a model are computed in one kernel, and that its logits stay what they are."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmbench.engines import LLM, SamplingParams
from llmbench.engines.assemble import load_model
from llmbench.engines.config import engine_config
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.decoder import AttentionTimer
from llmbench.engines.models.fused import fused_step, select_step
from llmbench.engines.models.llama import Llama
from llmbench.engines.resolve import resolve
from llmbench.kernels import registry
from llmbench.kernels.dispatch import Implementation, calls, calls_since
from llmbench.kernels.registry import KernelError, anywhere, select
from torch import Tensor

from .conftest import Saved
from .serve import Served
from .tiny import CPU, VOCAB, assert_near, build, load

BF16 = torch.bfloat16
PROMPT, LENGTH = 9, 24
native = pytest.mark.skipif(select_step(CPU, BF16) is None, reason="no native kernels here")


def drawn() -> list[int]:
    return [random.randrange(3, VOCAB) for _ in range(LENGTH)]


@pytest.fixture
def tokens() -> list[int]:
    return drawn()


@torch.no_grad()
def transformers_logits(model: object, tokens: list[int]) -> Tensor:
    return model(torch.tensor([tokens])).logits[0].float()  # type: ignore[operator]


def decoded_logits(served: Served) -> Tensor:
    """Of a prompt in one chunk, then of one token a step."""
    parts = [served.step({0: PROMPT})]
    parts += [served.step({0: 1}) for _ in range(LENGTH - PROMPT)]
    return torch.cat(parts).float()


@pytest.mark.parametrize("layout", ["paged", "contiguous"])
def test_the_reference_is_transformers(saved: Saved, layout: str, tokens: list[int]) -> None:
    model = load(saved.directory, step="reference")
    expected = transformers_logits(saved.reference, tokens)
    assert_near(decoded_logits(Served(model, layout, [tokens])), expected)


@native
def test_decodes_are_as_close_to_float32_as_transformers_is(saved: Saved) -> None:
    """Over eight sequences: of a single one chance decides by up to a half which errs more."""
    model = load(saved.directory, BF16, step=select_step(CPU, BF16))
    # The kernel reads heads of whole vectors; other models go operation by operation.
    assert (model.step is not None) == (model.config.head_dim % 16 == 0)
    rounded = build(saved.case).to(BF16)
    sequences = [drawn() for _ in range(8)]
    exact, theirs, ours = (
        torch.stack([logits(tokens) for tokens in sequences])
        for logits in (
            lambda tokens: transformers_logits(saved.reference, tokens),
            lambda tokens: transformers_logits(rounded, tokens),
            lambda tokens: decoded_logits(Served(model, "paged", [tokens])),
        )
    )
    their_error, our_error = ((one - exact).pow(2).mean().sqrt() for one in (theirs, ours))
    assert our_error < 1.15 * their_error
    assert model.step is None or vars(model.step)["attention_s"] > 0


@native
def test_the_timer_counts_its_attention(saved: Saved, tokens: list[int]) -> None:
    model = load(saved.directory, BF16, step=select_step(CPU, BF16))
    served, timer = Served(model, "paged", [tokens]), AttentionTimer()
    served.step({0: PROMPT})
    served.step({0: 1}, timer=timer)
    assert timer.seconds > 0


def test_a_step_of_one_s_own_need_not_measure_its_attention(
    saved: Saved, tokens: list[int]
) -> None:
    """It was accepted, and then every request failed."""
    model = load(saved.directory, step="reference")
    reference, timer = model.step, AttentionTimer()
    assert reference is not None

    class Own:
        def takes(self, *call: Any) -> bool:
            return reference.takes(*call)

        def __call__(self, *call: Any) -> Tensor:
            return reference(*call)

    model.step = Own()  # type: ignore[assignment]
    Served(model, "paged", [tokens]).step({0: PROMPT}, timer=timer)
    assert timer.seconds == 0


@native
@pytest.mark.parametrize("kv", ["paged", "contiguous"])
@pytest.mark.parametrize("kv_dtype", ["auto", "int8", "fp8"])
def test_every_decode_is_one_call_and_its_tokens_are_those_of_single_operations(
    kv: str, kv_dtype: str
) -> None:
    name, more = str(select_step(CPU, BF16)), 15
    prompts = [[random.randrange(3, 2048) for _ in range(length)] for length in (70, 1, 33)]

    def served(*force: str) -> tuple[list[tuple[int, ...]], int]:
        """Greedy tokens, and how many steps were fused."""
        llm = LLM(
            "bundled",
            kv=kv,
            kv_dtype=kv_dtype,
            dtype="bfloat16",
            device="cpu",
            max_model_len=128,
            force_kernels=force,
        )
        before = calls()
        outputs = llm.generate(prompts, SamplingParams(1 + more, ignore_eos=True))
        computed = calls_since(before)
        # Six layers' keys and values are written one by one for the prompts only, if at all.
        writes = computed["rope_cache_write" if kv_dtype == "auto" else "quantized_cache_write"]
        steps = computed.get("decoder_step", {})
        assert set(steps) <= {name}
        assert sum(writes.values()) == 6 * (1 + more - sum(steps.values()))
        return [output.token_ids for output in outputs], sum(steps.values())

    fused, steps = served()
    assert steps == more
    apart, steps = served(f"rms_norm={select('rms_norm', CPU, BF16).name}")
    assert steps == 0
    assert fused == apart


def test_what_is_forced_is_obeyed() -> None:
    assert select_step(CPU, BF16, {"rope": "torch"}) is None
    assert select_step(CPU, BF16, {"decoder_step": "reference"}) == "reference"
    # What follows a step is not part of it.
    assert select_step(CPU, BF16, {"argmax": "torch"}) == select_step(CPU, BF16)
    assert select_step(CPU, torch.float32) is None
    assert select_step(torch.device("cuda"), BF16) is None


@native
def test_an_installed_kernel_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an entry point, with the priority that the documents give it."""
    before = select_step(CPU, BF16)

    def install(op: str, function: Any) -> None:
        one = Implementation(op, "installed", function, anywhere, priority=200)
        monkeypatch.setitem(registry._registered[op], "installed", one)

    install("argmax", lambda logits: logits)
    assert select_step(CPU, BF16) == before
    install("rms_norm", lambda x, weight, eps: x * weight * eps)
    assert select_step(CPU, BF16) is None
    assert select_step(CPU, BF16, {"decoder_step": str(before)}) == before
    install("decoder_step", type("Own", (), {}))
    assert select_step(CPU, BF16) == "installed"


def test_what_ships_is_ours() -> None:
    assert all(one.ships for op in registry.OPS for one in registry.implementations(op))


@native
def test_weights_that_contradict_themselves_do_not_become_the_slow_path() -> None:
    files = resolve_model("bundled")
    engine = resolve(engine_config("paged", dtype="bfloat16"), files)
    model = load_model(files, engine).model
    assert isinstance(model, Llama)
    name, weights = str(select_step(CPU, BF16)), model.decoder_weights
    assert fused_step(name, weights) is not None
    with pytest.raises(KernelError, match="a layer's maps are"):
        fused_step(name, replace(weights, num_kv_heads=weights.num_kv_heads + 1))


@native
def test_a_step_that_was_asked_for_is_not_left_out() -> None:
    """PyTorch's maps are not among those that the library packs."""
    files, asked = resolve_model("bundled"), f"decoder_step={select_step(CPU, BF16)}"
    kernels = ("fp8_linear=torch-widened", asked)
    engine = engine_config("paged", quant="fp8", dtype="bfloat16", force_kernels=kernels)
    with pytest.raises(KernelError, match="asked for, does not compute this model"):
        load_model(files, resolve(engine, files))
