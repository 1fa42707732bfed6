"""The bundled model as transformers and tokenizers see it, and the claims of its card."""

import json
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.models.bundled import calibration_text, heldout_text, model_directory
from llmbench.engines.models.bundled.tokenizer import END_OF_TEXT, train_tokenizer
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

SHINGLE_CHARS = 50


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(model_directory() / "tokenizer.json"))


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(
        model_directory(), dtype=torch.float32, local_files_only=True
    ).eval()


def card() -> str:
    return (model_directory() / "README.md").read_text(encoding="utf-8")


def card_number(label: str) -> float:
    """The first number in the card's table row that begins with `label`."""
    row = next(line for line in card().splitlines() if line.startswith(f"| {label}"))
    return float(re.findall(r"\d[\d ]*\.?\d*", row.removeprefix(f"| {label}"))[0].replace(" ", ""))


@torch.inference_mode()
def nats_a_token(model, ids: list[int], window_tokens: int) -> float:
    """Independent of the training script: transformers computes the loss from labels."""
    windows = [
        ids[start : start + window_tokens + 1]
        for start in range(0, len(ids) - window_tokens, window_tokens)
    ]
    losses = [
        model(input_ids=(batch := torch.tensor([window])), labels=batch, use_cache=False).loss
        for window in windows
    ]
    return float(torch.stack(losses).mean())


def test_heldout_perplexity_is_what_the_card_says(model, tokenizer):
    ids = tokenizer.encode(END_OF_TEXT + heldout_text()).ids[:4097]
    perplexity = math.exp(nats_a_token(model, ids, 512))
    label = "perplexity of the first 4 096 held-out tokens in windows of 512"
    assert perplexity == pytest.approx(card_number(label), rel=0.005)


def test_long_context_does_not_hurt(model, tokenizer):
    ids = tokenizer.encode(END_OF_TEXT + heldout_text()).ids[:4097]
    assert nats_a_token(model, ids, 2048) < nats_a_token(model, ids, 512) + 0.01


def test_parameters_and_shapes_suit_every_kernel(model):
    config = model.config
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert 3e6 <= model.num_parameters() <= 6e6
    assert model.num_parameters() == card_number("parameters")
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert config.num_attention_heads % config.num_key_value_heads == 0
    assert config.num_key_value_heads < config.num_attention_heads
    linear = [m for m in model.model.modules() if isinstance(m, torch.nn.Linear)]
    assert all(m.in_features % 128 == 0 for m in linear)


def test_weights_were_rounded_to_bfloat16_once(model):
    assert json.loads((model_directory() / "config.json").read_text())["dtype"] == "bfloat16"
    for weight in model.parameters():
        assert torch.equal(weight, weight.bfloat16().float())


def test_folder_is_small():
    assert sum(path.stat().st_size for path in model_directory().glob("*.*")) <= 12e6


def test_transformers_tokenizer_is_the_same_tokenizer(tokenizer):
    theirs = AutoTokenizer.from_pretrained(model_directory(), local_files_only=True)
    text = calibration_text()[:2000] + END_OF_TEXT + "naïve — 北京 \x00\t 123"
    assert theirs(text)["input_ids"] == tokenizer.encode(text).ids
    assert len(theirs) == tokenizer.get_vocab_size() == card_number("vocabulary")
    assert theirs.eos_token_id == theirs.bos_token_id == 0


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_every_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@settings(max_examples=100, deadline=None)
@given(data=st.binary())
def test_every_byte_has_a_token(tokenizer, data):
    # latin-1 names all 256 bytes' characters; UTF-8 spells the upper half with two bytes each.
    text = data.decode("latin-1")
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text
    assert len(ids) <= len(text.encode("utf-8"))


def test_tokenizer_training_is_deterministic():
    texts = [calibration_text()[start : start + 5000] for start in (0, 30_000, 60_000, 90_000)]
    first, second = (train_tokenizer(texts, vocab_size=400) for _ in range(2))
    assert first.to_str() == second.to_str()
    assert first.get_vocab_size() == 400
    assert first.token_to_id(END_OF_TEXT) == 0


def shingles(text: str) -> set[str]:
    plain = re.sub(r"[^a-z]+", " ", text.lower())
    return {plain[i : i + SHINGLE_CHARS] for i in range(len(plain) - SHINGLE_CHARS + 1)}


def test_calibration_shares_nothing_with_heldout():
    assert not shingles(calibration_text()) & shingles(heldout_text())


def test_texts_are_of_the_stated_size():
    assert 60_000 <= len(calibration_text()) <= 200_000
    assert 60_000 <= len(heldout_text()) <= 140_000
    assert END_OF_TEXT not in calibration_text() + heldout_text()


def test_heldout_is_the_tail_of_tinyshakespeare(shared_data):
    """The published last tenth, so that the card's figure can be set beside other models'."""
    tiny = (shared_data / "text" / "tinyshakespeare_input.txt").read_text(encoding="utf-8")
    tail = heldout_text()[:100_000]
    assert tail in tiny
    assert tiny.index(tail) == pytest.approx(0.9 * len(tiny), abs=200)
