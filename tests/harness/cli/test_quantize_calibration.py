"""`llmbench quantize`: what it calibrates on, and what cannot be calibrated on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.models.tokenizer import load_tokenizer
from llmbench.harness.quality import quantize as command

from .quantizing import left_with, refused, words, write_model


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def test_the_calibration_is_what_was_asked_for(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text, JSON lines and a data set of the same documents give the same windows."""
    documents = [words(30), words(50), words(20)]
    (tmp_path / "a.txt").write_text("\n\n".join(documents))
    lines = "\n".join(json.dumps({"text": text, "id": 1}) for text in documents)
    (tmp_path / "a.jsonl").write_text(lines + "\n\n")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text(lines)
    seen: list[torch.Tensor] = []

    def keep(_config: Any, _weights: Any, _scheme: Any, windows: Any, **_: Any) -> Any:
        seen.append(windows)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "quantize_model", keep)
    size = ("--samples", "3", "--sequence-length", "32")
    for source in ("a.txt", "a.jsonl", "set", f"{tmp_path}/set::train"):
        path = source if source.startswith("/") else tmp_path / source
        assert left_with(model, "--calibration", path, *size, "--out", tmp_path / "out") == 130
    ids = load_tokenizer(model).encode(" ".join(documents))
    for windows in seen:
        assert windows.tolist() == [ids[:32], ids[32:64], ids[64:96]]
    assert len(seen) == 4


def test_conversations_are_calibrated_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ShareGPT's file, and JSON lines of messages: what everybody says, in turn. A line separator
    within a JSON string ends no line."""
    system, user, reply, second = (words(20) for _ in range(4))
    said = f"{system}\n\n{user}\u2028{reply}\n\n{second}"
    shared = [
        {"from": "system", "value": system},
        {"from": "human", "value": f"{user}\u2028{reply}"},
        {"from": "gpt", "value": second},
    ]
    messages = [
        {"role": {"system": "system", "human": "user", "gpt": "assistant"}[one["from"]]}
        | {"content": one["value"]}
        for one in shared
    ]
    empty: list[object] = []
    (tmp_path / "a.json").write_text(json.dumps([{"conversations": shared}]))
    for name, field, value in (("b", "conversations", shared), ("c", "messages", messages)):
        lines = (json.dumps({field: one}, ensure_ascii=False) for one in (value, empty))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "d.jsonl").write_text(json.dumps({"text": said}, ensure_ascii=False))
    seen: list[torch.Tensor] = []

    def keep(_config: Any, _weights: Any, _scheme: Any, windows: Any, **_: Any) -> Any:
        seen.append(windows)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "quantize_model", keep)
    size = ("--samples", "5", "--sequence-length", "16")
    for source in ("a.json", "b.jsonl", "c.jsonl", "d.jsonl"):
        path = tmp_path / source
        assert left_with(model, "--calibration", path, *size, "--out", tmp_path / "out") == 130
    expected = torch.tensor(load_tokenizer(model).encode(said)).view(5, 16)
    assert len(seen) == 4
    assert all(torch.equal(windows, expected) for windows in seen)


def test_calibration_that_cannot_be_used_is_refused_in_a_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = ("--out", tmp_path / "out")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text(words(60))
    (tmp_path / "bad.jsonl").write_text('{"text": "w1"}\n{"body": "w2"}\n')
    (tmp_path / "chat.jsonl").write_text('{"messages": []}\n{"messages": [{"role": "user"}]}')
    (tmp_path / "zeros.bin").write_bytes(bytes(4000))
    (tmp_path / "list.json").write_text("{}")
    (tmp_path / "none.json").write_text("[]")
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\x00")
    for source, options, message in (
        ("empty.txt", (), "at least 64 tokens, one window of 64; it has 0"),
        ("short.txt", ("--samples", "4", "--sequence-length", "16"), "64 tokens, 4 .* it has 60"),
        ("bad.jsonl", (), r"bad.jsonl, line 2'"),
        ("latin.txt", (), "can be read"),
        ("zeros.bin", (), "bytes that are 0"),
        ("chat.jsonl", (), r"chat.jsonl, line 2'"),
        ("list.json", (), "holds no list"),
        ("none.json", (), "holds no prompts"),
        ("absent.txt", (), "there is no such file"),
    ):
        line = refused(capsys, model, "--calibration", tmp_path / source, *options, *out)
        assert line.startswith("error: calibration: ")
        import re

        assert re.search(message, line), line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "source", ["nope.txt", "data/nope.JSONL", "./nope", "~/nope", "/nope:a:b", "a/b/c"]
)
def test_a_path_that_leads_nowhere_is_looked_for_nowhere_else(
    source: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hub would be asked five times over, with a line each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: pytest.fail("was asked for"))
    line = refused(capsys, model, "--calibration", source, "--out", tmp_path / "out")
    expected = f"calibration: {source!r} is not allowed; expected a file or a data set; there is no"
    assert expected in line


@pytest.mark.parametrize("source", ["wikitext", "owner/set-2.0", "owner/set:a:train[:1%]"])
def test_a_data_sets_name_is_no_path(
    source: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def load(name: str, *_: object, **__: object) -> list[dict[str, str]]:
        asked.append(name)
        return [{"text": words(70)}]

    monkeypatch.setattr("datasets.load_dataset", load)
    out = tmp_path / "out"
    assert left_with(model, "--calibration", source, "--out", out, "--quiet") == 0
    assert asked == [source.partition(":")[0]]
