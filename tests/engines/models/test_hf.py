"""Models without native code, through transformers over our KV cache, against transformers alone.

The reference is `generate` in float32, one request at a time, or the logits of one whole pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from llmbench.engines.assemble import build_engine, kernels_of, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.errors import ModelError
from llmbench.engines.models.catalogue import ModelFiles
from llmbench.engines.models.decoder import AttentionTimer
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.hf_config import describe
from llmbench.engines.resolve import resolve
from safetensors.torch import load_file, save_file

from ..rounding import RoundingCache
from .conftest import Saved
from .families import (
    FAMILIES,
    GROUPED,
    LENGTH,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    Family,
    drain,
    load,
    make_family,
    random_prompts,
    save,
    serve,
    settings,
)
from .serve import Served
from .tiny import VOCAB, assert_near, greedy


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("kv", ["paged", "contiguous"])
@pytest.mark.parametrize("admission", ["optimistic", "reserve"])
@pytest.mark.parametrize("batching", ["separate", "mixed", "static"])
def test_greedy_tokens_are_those_of_generate(
    family: Family, batching: str, admission: str, kv: str
) -> None:
    # Separate batching computes prompts whole; the others cut them over steps.
    budget = 64 if batching == "separate" else 8
    asked = settings(
        batching=batching,
        admission=admission,
        kv=kv,
        max_num_batched_tokens=budget,
        block_size=4 if kv == "paged" else None,
    )
    tokens, _ = serve(family.loaded, resolve(asked, family.files), family.prompts)
    assert tokens == family.expected
    assert len({token for tokens in family.expected for token in tokens}) > 3  # says something


def test_preemption_and_recompute_change_no_token(family: Family) -> None:
    room = LENGTH * family.loaded.config.kv_bytes_per_token("float32")
    asked = settings(block_size=4, kv_memory_bytes=room, max_num_batched_tokens=LENGTH)
    chosen = [3, 3, 3, 1]
    tokens, preemptions = serve(
        family.loaded, resolve(asked, family.files), [family.prompts[i] for i in chosen]
    )
    assert preemptions > 0
    assert tokens == [family.expected[i] for i in chosen]


@pytest.mark.parametrize("kv_dtype", ["int8", "fp8"])
def test_eight_bit_cache_gives_the_tokens_of_a_cache_that_rounds(
    family: Family, kv_dtype: str
) -> None:
    expected = family.expected_of(kv_dtype)
    for axes in (
        {"kv": "paged", "batching": "separate"},
        {"kv": "paged", "batching": "mixed", "block_size": 4, "max_num_batched_tokens": 8},
        {"kv": "contiguous", "batching": "mixed", "max_num_batched_tokens": 8},
    ):
        engine = resolve(settings(kv_dtype=kv_dtype, **axes), family.files)
        assert serve(family.loaded, engine, family.prompts)[0] == expected, axes
        cache = f"quantized_{engine.kv}_attention"
        assert set(kernels_of(engine, family.files)) == {
            "quantized_cache_write",
            cache,
            "argmax",
            "sample",
        }
    prompt = family.prompts[0]
    with torch.no_grad():
        scored = family.reference(torch.tensor([prompt]), past_key_values=RoundingCache(kv_dtype))
        plain = family.reference(torch.tensor([prompt]))
    assert_near(dense_logits(family.loaded.model, prompt, kv_dtype), scored.logits[0])
    assert (scored.logits - plain.logits).abs().max() > 1e-2  # says something


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """Its experts are chosen by what attention gives: a wrong key soon changes its tokens."""
    return make_family("qwen3_moe", tmp_path_factory.mktemp("routed"))


def test_samples_share_a_prompt_and_write_to_copies(routed: Family) -> None:
    engine = resolve(settings(block_size=16), routed.files)
    tokens, _ = drain(build_engine(routed.loaded, engine, WallClock()), routed.prompts, 3)
    assert tokens == [[answer] * 3 for answer in routed.expected]


def test_prefix_found_in_the_cache_changes_no_token(routed: Family) -> None:
    axes = {"batching": "mixed", "mixing": "unified", "block_size": 4, "prefix_cache": True}
    core = build_engine(routed.loaded, resolve(settings(**axes), routed.files), WallClock())
    for found in (False, True):
        tokens, traces = drain(core, routed.prompts)
        assert [one[0] for one in tokens] == routed.expected
        cached = sum(chunk.cached_tokens for trace in traces for chunk in trace.chunks)
        assert (cached > 0) == found


@pytest.mark.parametrize("kv_dtype", ["auto", "int8"])
def test_swapping_changes_no_token(routed: Family, kv_dtype: str) -> None:
    room = LENGTH * routed.loaded.config.kv_bytes_per_token("float32", kv_dtype)
    axes = {"block_size": 4, "kv_memory_bytes": room, "preemption": "swap", "kv_dtype": kv_dtype}
    chosen, expected = (3, 0, 3, 1), routed.expected_of(kv_dtype)
    core = build_engine(routed.loaded, resolve(settings(**axes), routed.files), WallClock())
    tokens, traces = drain(core, [routed.prompts[i] for i in chosen])
    assert sum(len(trace.swapped_out) for trace in traces) > 0
    assert sum(chunk.recomputed_tokens for trace in traces for chunk in trace.chunks) == 0
    assert [one[0] for one in tokens] == [expected[i] for i in chosen]


@pytest.mark.parametrize("layout", ["paged", "contiguous"])
def test_chunks_beside_decodes_give_the_logits_of_one_pass(family: Family, layout: str) -> None:
    sequences = random_prompts((30, 30, 30), seed=1)
    served = Served(family.loaded.model, layout, sequences)
    parts: dict[int, list[torch.Tensor]] = {0: [], 1: [], 2: []}
    for lengths in ({0: 5}, {1: 30, 0: 4}, {2: 7, 0: 1}, {0: 20, 2: 1}, {2: 22}):
        split = served.step(lengths).split(list(lengths.values()))
        for sequence, logits in zip(lengths, split, strict=True):
            parts[sequence].append(logits)
    for sequence, tokens in enumerate(sequences):
        with torch.no_grad():
            expected = family.reference(torch.tensor([tokens])).logits[0]
        assert_near(torch.cat(parts[sequence]), expected)


def test_rows_none_and_timing(family: Family) -> None:
    lengths = {0: 6, 1: 9}
    sequences = random_prompts((6, 9), seed=2)
    timer = AttentionTimer()
    whole = Served(family.loaded.model, "paged", sequences).step(lengths, timer=timer)
    assert timer.seconds > 0
    rows = torch.tensor([14, 0, 6])
    some = Served(family.loaded.model, "paged", sequences).step(lengths, logit_rows=rows)
    assert_near(some, whole[rows])
    none = Served(family.loaded.model, "paged", sequences).step(lengths, logit_rows=rows[:0])
    assert none.shape == (0, VOCAB)
    assert_near(dense_logits(family.loaded.model, sequences[0]), whole[:6])


def test_facts_are_those_of_the_model(family: Family) -> None:
    config = family.loaded.config
    assert config.family == family.reference.config.model_type
    assert config.parameter_count == sum(one.numel() for one in family.reference.parameters())
    assert (config.vocab_size, config.num_layers) == (VOCAB, 3)
    assert config.max_position_embeddings == 128
    assert config.eos_token_ids == (2,)
    # Heads of keys and of values, their width, layers, bytes.
    heads, width = {"gpt_neox": (4, 12), "opt": (4, 12)}.get(family.name, (2, 16))
    assert config.kv_bytes_per_token("float32") == 2 * heads * width * 3 * 4


def test_bytes_of_a_step_leave_tables_out_unless_tied(family: Family) -> None:
    stored = 4 * sum(one.numel() for one in family.reference.parameters())
    tables = {
        "gpt_neox": VOCAB * 48,  # in and out are two
        "opt": (128 + 2) * 48,  # positions; tokens are tied
        "gemma3": 0,  # tied
        "qwen3_moe": VOCAB * 48,
    }
    assert family.loaded.model.weight_bytes == stored - 4 * tables[family.name]


def test_bfloat16_is_as_close_to_float32_as_transformers_is(tmp_path: Path) -> None:
    reference = save("gpt_neox", tmp_path)
    sequences = random_prompts((24,), seed=4)
    ids = torch.tensor(sequences)
    ours = Served(load(tmp_path, dtype="bfloat16").model, "paged", sequences).step({0: 24})
    assert ours.dtype == torch.bfloat16
    with torch.no_grad():
        exact = reference(ids).logits[0]
        theirs = reference.to(torch.bfloat16)(ids).logits[0].float()
    their_error = (theirs - exact).pow(2).mean().sqrt()
    our_error = (ours.float() - exact).pow(2).mean().sqrt()
    assert our_error < 1.25 * their_error


def test_llama_is_native_unless_forced_and_the_same_either_way(saved_llama: Saved) -> None:
    files = ModelFiles("llama", saved_llama.directory)
    prompts = random_prompts(PROMPT_TOKENS, seed=3)
    tokens, kernels = {}, {}
    for asked, runs in (("auto", "native"), ("transformers", "transformers")):
        engine = resolve(
            settings(model_impl=asked, max_num_batched_tokens=8, batching="mixed"), files
        )
        assert engine.model_impl == runs
        loaded = load_model(files, engine)
        tokens[runs], _ = serve(loaded, engine, prompts)
        kernels[runs] = set(loaded.kernels)
    assert tokens["transformers"] == tokens["native"]
    assert tokens["native"] == [greedy(saved_llama.reference, p, OUTPUT_TOKENS) for p in prompts]
    assert kernels["transformers"] == {"cache_write", "paged_attention", "argmax", "sample"}
    assert {"rope_cache_write", "paged_attention", "linear"} <= kernels["native"]


def test_mistral_of_two_kinds_of_layers_runs_as_the_ministral_that_transformers_makes_it(
    tmp_path: Path,
) -> None:
    """As Ministral-8B-Instruct-2410 is published."""
    torch.manual_seed(0)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    config = transformers.MinistralConfig(**GROUPED, sliding_window=7, layer_types=kinds)
    transformers.MinistralForCausalLM(config).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    named = {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    files = ModelFiles("ministral", tmp_path)
    engine = resolve(settings(max_num_batched_tokens=8, batching="mixed"), files)
    assert engine.model_impl == "transformers"
    assert describe(tmp_path).windows == (7, None, 7)
    reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    prompts = random_prompts(PROMPT_TOKENS, seed=3)
    tokens, _ = serve(load_model(files, engine), engine, prompts)
    assert tokens == [greedy(reference, prompt, OUTPUT_TOKENS) for prompt in prompts]


def test_dynamic_rope_keeps_its_frequencies_within_the_models_length(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**GROUPED, rope_parameters=rope)
    reference: Any = transformers.LlamaForCausalLM(config).eval()
    reference.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.config.max_position_embeddings == 128
    sequences = random_prompts((40, 3), seed=6)
    logits = Served(loaded.model, "paged", sequences).step({0: 40, 1: 3})
    with torch.no_grad():
        expected = [reference(torch.tensor([tokens])).logits[0] for tokens in sequences]
    assert_near(logits, torch.cat(expected))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tensors: tensors.pop("embed_out.weight"), "lacks the tensor"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "does not, 'extra'"),
        (lambda tensors: tensors.update({"embed_out.weight": torch.zeros(3, 3)}), ""),
    ],
    ids=["missing", "unknown", "misshapen"],
)
def test_weights_that_do_not_fit_are_refused(
    spoil: Callable[[dict[str, torch.Tensor]], object], message: str, tmp_path: Path
) -> None:
    save("gpt_neox", tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    spoil(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError) as refused:
        load(tmp_path)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    save("opt", tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"has its weights in 'pytorch_model.bin'"):
        load(tmp_path)


def test_state_past_attention_is_found_when_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token shift in the MLP, as RWKV has one: nothing in config or attention tells of it."""
    from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXMLP

    save("gpt_neox", tmp_path)
    plain = GPTNeoXMLP.forward
    monkeypatch.setattr(GPTNeoXMLP, "forward", lambda self, x: plain(self, x + x.roll(1, dims=1)))
    with pytest.raises(ModelError, match="from token to token beside keys and values"):
        load(tmp_path)
