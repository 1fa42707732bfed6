"""Models without native code, through transformers over our KV cache, against transformers alone.

The reference is `generate` in float32, one request at a time, or the logits of one whole pass.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from llmbench.engines.api import FinishReason, Request, SamplingParams
from llmbench.engines.assemble import LoadedModel, build_engine, kernels_of, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.engines.errors import ConfigError, ModelError
from llmbench.engines.models.catalogue import ModelFiles
from llmbench.engines.models.decoder import AttentionTimer
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.hf_config import describe
from llmbench.engines.pipeline import Core
from llmbench.engines.resolve import resolve
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.trace import StepTrace
from safetensors.torch import load_file, save_file

from ..rounding import RoundingCache
from .conftest import Saved
from .serve import Served
from .tiny import VOCAB, assert_near, greedy

PROMPT_TOKENS = (30, 5, 1, 17)
OUTPUT_TOKENS = 10
LENGTH = 64

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED: dict[str, Any] = _SHAPE | {
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "head_dim": 16,
}

FAMILIES: dict[str, Callable[[], Any]] = {
    # Rotates a quarter of a head; attention and MLP side by side.
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**_SHAPE, intermediate_size=80),
    # Learnt positions, two places off.
    "opt": lambda: transformers.OPTConfig(**_SHAPE, ffn_dim=80, word_embed_proj_dim=48),
    # Windows in some layers only, and scales of its own.
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **_GROUPED,
        sliding_window=7,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    # Experts.
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(
        **_GROUPED, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24
    ),
}


@dataclass(frozen=True)
class Family:
    """A tiny random model as transformers saved it, loaded through an engine's way."""

    name: str
    reference: Any
    files: ModelFiles
    loaded: LoadedModel
    prompts: list[list[int]]
    expected: list[list[int]]

    def expected_of(self, kv_dtype: str) -> list[list[int]]:
        """What `generate` answers where keys and values are stored so."""
        if kv_dtype == "auto":
            return self.expected
        return [
            greedy(self.reference, prompt, OUTPUT_TOKENS, RoundingCache(kv_dtype))
            for prompt in self.prompts
        ]


def settings(**changes: Any) -> EngineConfig:
    return engine_config(
        "paged",
        **{
            "dtype": "float32",
            "device": "cpu",
            "max_model_len": LENGTH,
            "max_num_seqs": 4,
            "kv_memory_bytes": 2**20,
            **changes,
        },
    )


def save(name: str, directory: Path) -> Any:
    """The transformers model, every parameter random, after writing it to `directory`."""
    torch.manual_seed(sorted(FAMILIES).index(name))
    config = FAMILIES[name]()
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter_name, parameter in model.named_parameters():
        norm = "norm" in parameter_name and "gemma" not in name
        torch.nn.init.normal_(parameter, mean=1.0 if norm else 0.0, std=0.25)
    model.save_pretrained(directory)
    return model


def load(directory: Path, **changes: Any) -> LoadedModel:
    files = ModelFiles(directory.name, directory)
    return load_model(files, resolve(settings(**changes), files))


def random_prompts(lengths: tuple[int, ...], seed: int = 0) -> list[list[int]]:
    stream = random.Random(seed)
    return [[stream.randrange(3, VOCAB) for _ in range(length)] for length in lengths]


def make_family(name: str, directory: Path) -> Family:
    reference = save(name, directory)
    prompts = random_prompts(PROMPT_TOKENS)
    return Family(
        name,
        reference,
        ModelFiles(name, directory),
        load(directory),
        prompts,
        [greedy(reference, prompt, OUTPUT_TOKENS) for prompt in prompts],
    )


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


def serve(
    loaded: LoadedModel, engine: ResolvedEngine, prompts: list[list[int]]
) -> tuple[list[list[int]], int]:
    """Each prompt's tokens, and how many preemptions it took."""
    tokens, traces = drain(build_engine(loaded, engine, WallClock()), prompts)
    return [one[0] for one in tokens], sum(len(trace.preempted) for trace in traces)


def drain(
    core: Core, prompts: list[list[int]], samples: int = 1
) -> tuple[list[list[list[int]]], list[StepTrace]]:
    """The tokens of each prompt's samples, and the steps they took."""
    sampling = SamplingParams(OUTPUT_TOKENS, n=samples, ignore_eos=True)
    for index, prompt in enumerate(prompts):
        core.add(Request(str(index), tuple(prompt), sampling))
    tokens: list[list[list[int]]] = [[[] for _ in range(samples)] for _ in prompts]
    traces: list[StepTrace] = []
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            assert event.finish in (None, FinishReason.LENGTH), event.detail
            assert event.token_id is not None
            tokens[int(event.request_id)][event.choice].append(event.token_id)
        if outcome.trace is not None:
            traces.append(outcome.trace)
    return tokens, traces


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


def test_windows_are_a_layers_own(tmp_path: Path) -> None:
    FAMILIES["gemma3"]().save_pretrained(tmp_path)
    assert describe(tmp_path).windows == (7, None, 7)


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


def test_llama_that_native_code_does_not_compute_runs_through_transformers(tmp_path: Path) -> None:
    transformers.LlamaConfig(**_GROUPED, hidden_act="gelu").save_pretrained(tmp_path)
    files = ModelFiles("llama", tmp_path)
    assert resolve(settings(), files).model_impl == "transformers"
    with pytest.raises(ModelError, match="hidden_act: 'gelu' is not supported"):
        resolve(settings(model_impl="native"), files)


def test_mistral_of_two_kinds_of_layers_runs_as_the_ministral_that_transformers_makes_it(
    tmp_path: Path,
) -> None:
    """As Ministral-8B-Instruct-2410 is published."""
    torch.manual_seed(0)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    config = transformers.MinistralConfig(**_GROUPED, sliding_window=7, layer_types=kinds)
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


@pytest.mark.parametrize("named", ["Qwen2Model", "Qwen2ForSequenceClassification"])
def test_what_is_no_language_model_is_not_taken_for_one(named: str, tmp_path: Path) -> None:
    """With tied embeddings its checkpoint has every weight that the language model asks for."""
    config = transformers.Qwen2Config(**_GROUPED, tie_word_embeddings=True)
    config.architectures = [named]
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"'{named}' .* would build Qwen2ForCausalLM"):
        resolve(settings(), ModelFiles("qwen2", tmp_path))


_MLA: dict[str, Any] = {
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
}
_TOO_DEEP: dict[str, Any] = _SHAPE | {"num_hidden_layers": 10**12}
_CONVOLUTION: dict[str, Any] = _GROUPED | {"head_dim": 12}
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "softcap": (lambda: transformers.Gemma2Config(**_GROUPED), "'softcap', which is not computed"),
    "sinks": (
        lambda: transformers.GptOssConfig(**_GROUPED, num_local_experts=4),
        "'s_aux', which is not computed",
    ),
    "recurrent": (
        lambda: transformers.MambaConfig(vocab_size=VOCAB, hidden_size=48, num_hidden_layers=2),
        "'MambaForCausalLM' keeps a recurrent state",
    ),
    "convolution": (
        lambda: transformers.Lfm2Config(**_CONVOLUTION),
        "'Lfm2ForCausalLM'",
    ),
    "chunked": (
        lambda: transformers.Llama4TextConfig(**_GROUPED, intermediate_size_mlp=80),
        "has a mask that is neither causal nor a sliding window",
    ),
    "forgetful": (
        lambda: transformers.MoshiConfig(**_GROUPED, ffn_dim=80, sliding_window=9),
        "has a mask of all tokens and a cache of 9",
    ),
    "latent": (
        lambda: transformers.DeepseekV3Config(
            **_SHAPE, **_MLA, v_head_dim=16, n_routed_experts=8, n_group=1, topk_group=1
        ),
        "keys of 24 and values of 16",
    ),
    "two directions": (
        lambda: transformers.BertConfig(**_SHAPE),
        "attends in both directions, which is not computed",
    ),
    "no positions": (
        lambda: transformers.BartConfig(vocab_size=VOCAB, d_model=48),
        "takes no position_ids",
    ),
    "too deep to be built": (
        lambda: transformers.GPTNeoXConfig(**_TOO_DEEP),
        "num_hidden_layers: 1000000000000 in config.json; expected an integer of at most 10000",
    ),
    "own attention": (
        lambda: transformers.GPTJConfig(vocab_size=VOCAB, n_embd=48, n_head=4, n_layer=2),
        "does not run through transformers' attention interface",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_is_not_computed_is_refused_without_weights(case: str, tmp_path: Path) -> None:
    build, message = REFUSED[case]
    build().save_pretrained(tmp_path)
    with pytest.raises(ModelError) as refused:
        resolve(settings(), ModelFiles(case, tmp_path))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_longrope_is_served_up_to_where_its_frequencies_change(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0] * 6, "long_factor": [4.0] * 6}
    transformers.Phi3Config(
        **_SHAPE,
        intermediate_size=80,
        original_max_position_embeddings=32,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "original_max_position_embeddings": 32,
            **factors,
        },
    ).save_pretrained(tmp_path)
    files = ModelFiles("phi3", tmp_path)
    assert resolve(replace(settings(), max_model_len=None), files).max_model_len == 32
    with pytest.raises(ConfigError, match="max_model_len: 33"):
        resolve(settings(max_model_len=33), files)


def test_dynamic_rope_keeps_its_frequencies_within_the_models_length(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**_GROUPED, rope_parameters=rope)
    reference: Any = transformers.LlamaForCausalLM(config).eval()
    reference.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.config.max_position_embeddings == 128
    sequences = random_prompts((40, 3), seed=6)
    logits = Served(loaded.model, "paged", sequences).step({0: 40, 1: 3})
    with torch.no_grad():
        expected = [reference(torch.tensor([tokens])).logits[0] for tokens in sequences]
    assert_near(logits, torch.cat(expected))


def test_quantisation_is_refused_in_one_line(tmp_path: Path) -> None:
    FAMILIES["opt"]().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="quant: 'awq' is not allowed; expected none: opt runs"):
        resolve(settings(quant="awq"), ModelFiles("opt", tmp_path))


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
