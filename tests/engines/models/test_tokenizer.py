"""The tokenizer wrapper over small tokenizers trained here."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from llmbench.engines.errors import ModelError
from llmbench.engines.models.tokenizer import LONG_TEXT, load_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

TEXT = "To be, or not to be: that is the question. 12 + 34 = 46; déjà vu."


def save(directory: Path, *, bos: bool, truncate: int | None = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)]
        )
    if truncate:
        tokenizer.enable_truncation(truncate)
    tokenizer.save(str(directory / "tokenizer.json"))
    return tokenizer


def test_text_comes_back(tmp_path: Path) -> None:
    save(tmp_path, bos=False)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.prefix_ids == ()
    assert tokenizer.vocab_size == 280


def test_beginning_of_text_is_put_in_front_once(tmp_path: Path) -> None:
    save(tmp_path, bos=True)
    tokenizer = load_tokenizer(tmp_path)
    body = tokenizer.encode(TEXT, add_special_tokens=False)
    assert tokenizer.prefix_ids == (0,)
    assert tokenizer.encode(TEXT) == [0, *body]
    assert tokenizer.decode([0, *body, 1]) == TEXT
    assert tokenizer.decode([0, *body], skip_special_tokens=False) == "<s>" + TEXT


@pytest.mark.parametrize("bos", [False, True])
def test_a_long_text_is_tokenised_as_a_short_one_is(tmp_path: Path, bos: bool) -> None:
    whole = save(tmp_path, bos=bos)
    tokenizer = load_tokenizer(tmp_path)
    text = TEXT * (LONG_TEXT // len(TEXT) + 1)
    for special in (True, False):
        expected = whole.encode(text, add_special_tokens=special).ids
        assert tokenizer.encode(text, add_special_tokens=special) == expected


def test_other_threads_run_while_a_long_text_is_tokenised(tmp_path: Path) -> None:
    """Known wrong here: half a second of a 245,000 character prompt in which no stream moved."""
    save(tmp_path, bos=False)
    tokenizer = load_tokenizer(tmp_path)
    text = TEXT * 10_000
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.001):
            ticks.append(time.perf_counter())

    other = threading.Thread(target=tick)
    other.start()
    begin = time.perf_counter()
    tokenizer.encode(text)
    end = time.perf_counter()
    done.set()
    other.join()
    # Held up throughout, it comes to one at the beginning and one at the end.
    assert sum(begin < at < end for at in ticks) > 10


def test_saved_truncation_does_not_cut_prompts(tmp_path: Path) -> None:
    save(tmp_path, bos=False, truncate=3)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT


def save_in_parts(directory: Path) -> Tokenizer:
    """vocab.json and merges.txt, as GPT-2 had them."""
    whole = save(directory, bos=False)
    (directory / "tokenizer.json").unlink()
    whole.model.save(str(directory))
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    return whole


def test_without_tokenizer_json_transformers_reads_it(tmp_path: Path) -> None:
    whole = save_in_parts(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode(TEXT) == whole.encode(TEXT).ids
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("merges.txt", "#version: 0.2\none\n"),
        ("vocab.json", '{"a": '),
        ("added_tokens.json", "[1]"),
        ("tokenizer_config.json", "[]"),
    ],
)
def test_broken_part_is_one_line(tmp_path: Path, file: str, text: str) -> None:
    save_in_parts(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(ModelError, match="has no tokenizer that can be read") as refused:
        load_tokenizer(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{}", '{"model": 3}'])
def test_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match=r"tokenizer\.json' is not a tokenizer file") as refused:
        load_tokenizer(tmp_path)
    assert "\n" not in str(refused.value)


def test_no_tokenizer_at_all(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="has no tokenizer that can be read") as refused:
        load_tokenizer(tmp_path)
    assert "\n" not in str(refused.value)
