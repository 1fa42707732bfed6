"""GGUF files written from transformers models, read back; and truncated ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.models.gguf_convert import convert_gguf
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.models.tokenizer import load_tokenizer
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from .gguf_file import CHAT_TEMPLATE, TOKENS, write_gguf


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENS),
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=64,
            rms_norm_eps=0.5**16,
            tie_word_embeddings=request.param,
        )
    )


@pytest.fixture(scope="module")
def gguf_path(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, model)
    return path


def test_weights_and_config_come_back(
    model: PreTrainedModel, gguf_path: Path, tmp_path: Path
) -> None:
    convert_gguf(gguf_path, tmp_path)
    config, weights = load_model_directory(tmp_path)
    for name, parameter in model.named_parameters():
        assert torch.equal(weights[name], parameter.to(torch.bfloat16)), name
    assert config.rms_norm_eps == 0.5**16
    assert config.rope_theta == 10000.0
    assert config.max_position_embeddings == 64
    assert config.tie_word_embeddings is model.config.tie_word_embeddings
    assert config.dtype == "bfloat16"
    assert config.eos_token_ids == (2,)
    assert json.loads((tmp_path / "config.json").read_text())["bos_token_id"] == 1


def test_tokenizer_comes_back(gguf_path: Path, tmp_path: Path) -> None:
    convert_gguf(gguf_path, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    ids = tokenizer.encode("hello w12<|im_end|>é")
    # Digits are pieces of their own: the merge of 1 and 2 is never applied.
    assert [TOKENS[token] for token in ids] == ["hello", "Ġw", "1", "2", "<|im_end|>", "Ã", "©"]
    assert tokenizer.decode(ids) == "hello w12é"
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.encode("hello w12<|im_end|>é") == ids
    assert theirs.chat_template == CHAT_TEMPLATE
    assert (theirs.bos_token, theirs.eos_token) == ("<|im_start|>", "<|im_end|>")


@pytest.mark.parametrize("kept", [0, 3, 20, 200, 0.3, 0.9, 0.999])
def test_truncated_file_is_named(gguf_path: Path, tmp_path: Path, kept: float) -> None:
    whole = gguf_path.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: kept if isinstance(kept, int) else int(len(whole) * kept)])
    with pytest.raises(ModelError, match=r"cut\.gguf' is not a whole GGUF file") as refused:
        convert_gguf(cut, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_not_a_gguf(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text(json.dumps({"not": "a model"}) * 100)
    with pytest.raises(ModelError, match=r"text\.gguf' is not a whole GGUF file"):
        convert_gguf(path, tmp_path / "out")


def test_other_tokenizer_is_refused(model: PreTrainedModel, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", model, pre="llama-bpe")
    with pytest.raises(ModelError, match="tokenizer: 'gpt2/llama-bpe' is not supported"):
        convert_gguf(tmp_path / "tiny.gguf", tmp_path / "out")
