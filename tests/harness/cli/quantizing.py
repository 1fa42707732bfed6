"""`llmbench quantize` in this process, on a tiny model whose tokenizer knows forty words."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from llmbench.harness.cli import main
from safetensors.torch import save_file

from ...engines.quantization.tiny import tiny_json, tiny_model


def write_model(directory: Path) -> Path:
    """A tiny model whose tokenizer gives a token a word of 40."""
    import tokenizers

    directory.mkdir()
    config = {**tiny_json("grouped heads, tied"), "max_position_embeddings": 64}
    (directory / "config.json").write_text(json.dumps(config))
    save_file(tiny_model("grouped heads, tied")[1], directory / "model.safetensors")
    vocabulary = {word: index for index, word in enumerate([*(f"w{i}" for i in range(40)), "?"])}
    model = tokenizers.models.WordLevel(vocabulary, unk_token="?")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def words(count: int) -> str:
    return " ".join(f"w{random.randrange(40)}" for _ in range(count))


def left_with(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in ("quantize", *arguments)])
    return int(left.value.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line that says why."""
    capsys.readouterr()
    assert left_with(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error:")
    assert not any("Traceback" in line for line in lines)
    return lines[-1]
