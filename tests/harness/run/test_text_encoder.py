"""A model's template and special tokens, against a template rendered by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.engines.errors import ModelError
from llmbench.engines.models.tokenizer import ByteTokenizer, load_tokenizer
from llmbench.harness.run.chat_template import (
    ChatTemplateError,
    has_chat_template,
    load_chat_template,
)
from llmbench.harness.run.text_encoder import text_encoder
from llmbench.workloads.api import Message
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
WORDS = {"<user>": 0, "<assistant>": 1, "<end>": 2, "hello": 3, "there": 4, "<unk>": 5}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens([AddedToken(word) for word in ("<user>", "<assistant>", "<end>")])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def test_a_chat_is_what_the_models_template_makes_of_it(directory: Path) -> None:
    encoder = text_encoder(load_tokenizer(directory), directory)
    chat = (Message("user", "hello"), Message("assistant", "there"), Message("user", "there"))
    assert encoder.encode_chat is not None
    assert list(encoder.encode_chat(chat)) == [0, 3, 2, 1, 4, 2, 0, 4, 2, 1]


def test_a_template_is_told_who_speaks_where_a_message_says_it(directory: Path) -> None:
    said = "{% for m in messages %}{{ m['name'] | default('?') }}: {{ m['content'] }}. {% endfor %}"
    (directory / "chat_template.jinja").write_text(said)
    chat = [Message("user", "hello", name="Bo"), Message("assistant", "there")]
    assert load_chat_template(directory)(chat) == "Bo: hello. ?: there. "


def test_what_a_template_refuses_is_one_line(directory: Path) -> None:
    encoder = text_encoder(load_tokenizer(directory), directory)
    assert encoder.encode_chat is not None
    with pytest.raises(ModelError, match=r"chat template that refuses a chat .no system."):
        encoder.encode_chat((Message("system", "hello"),))


def test_special_ids_are_those_that_are_no_text(directory: Path) -> None:
    assert text_encoder(load_tokenizer(directory), directory).special_ids == {0, 1, 2}
    assert text_encoder(load_tokenizer(directory), directory).vocab_size == 6


def test_a_model_without_a_template_has_no_chats(tmp_path: Path) -> None:
    assert not has_chat_template(tmp_path)
    assert text_encoder(ByteTokenizer(), tmp_path).encode_chat is None
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    assert has_chat_template(tmp_path)


def test_a_config_that_says_null_has_no_template(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": null}')
    assert not has_chat_template(tmp_path)
    for broken in ("{", "[]"):
        (tmp_path / "tokenizer_config.json").write_text(broken)
        with pytest.raises(ModelError, match="is no JSON object"):
            has_chat_template(tmp_path)


def test_whatever_a_template_raises_is_a_refusal(directory: Path) -> None:
    """A sum of a text and a number is no error of jinja's own."""
    (directory / "chat_template.jinja").write_text("{{ messages[0]['content'] + 1 }}")
    with pytest.raises(ChatTemplateError):
        load_chat_template(directory)([Message("user", "hello")])
