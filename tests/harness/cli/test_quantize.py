"""`llmbench quantize`: what it writes, what it refuses, how it goes on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.models import bundled
from llmbench.engines.models.tokenizer import load_tokenizer
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.harness.cli import main
from llmbench.harness.quality import quantize as command
from safetensors.torch import load_file, save_file

from ...engines.quantization.tiny import tiny_json, tiny_model

BUNDLED = Path(bundled.__file__).parent


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny model whose tokenizer gives a token a word of 40."""
    import tokenizers

    directory = tmp_path / "model"
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


@pytest.mark.parametrize(
    ("options", "quant_method", "bits"),
    [
        (["--method", "gptq", "--group-size", "32"], "gptq", 4),
        (["--method", "gptq", "--bits", "8", "--asymmetric", "--no-act-order"], "gptq", 8),
        (["--method", "gptq", "--group-size", "-1", "--format", "compressed-tensors"], None, 4),
        (["--method", "awq", "--group-size", "32"], "awq", 4),
        (["--method", "rtn", "--bits", "8"], None, 8),
        (["--method", "smoothquant"], None, 8),
        (["--method", "fp8-static"], None, 8),
        (["--method", "nvfp4"], None, 4),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_is_written_is_a_checkpoint(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    quant_method: str | None,
    bits: int,
) -> None:
    out = tmp_path / "out"
    assert left_with(model, *options, "--out", out) == 0
    settings = json.loads((out / "config.json").read_text())["quantization_config"]
    assert settings["quant_method"] == (quant_method or "compressed-tensors")
    _, quantized = read_checkpoint(out)
    assert quantized.scheme.bits == bits
    assert len(quantized.maps) == 14
    assert not (tmp_path / ".out.layers").exists()
    printed = capsys.readouterr().out
    assert "times smaller" in printed
    if options[1] in ("gptq", "awq"):
        # A row a layer: its loss, and that of rounding, which is larger.
        rows = [line.split() for line in printed.splitlines() if line.strip()[:2] in ("1 ", "2 ")]
        assert [row[0] for row in rows[:2]] == ["1", "2"]  # as progress numbers them
        assert all(float(row[1]) < float(row[2]) for row in rows[:2])


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "gptk"], "error: method: 'gptk' is not allowed; .*did you mean 'gptq'"),
        (["--method", "none"], "error: method: 'none' .* one of awq, .*, smoothquant, w8a8"),
        (["--method", "w4a16"], "method: 'w4a16' .* a method that quantises"),
        (["--method", "awq", "--bits", "8"], "bits: 8 .* 4 with awq"),
        (["--method", "gptq", "--bits", "3"], "4 or 8 with gptq"),
        (["--method", "gptq", "--group-size", "20"], "group_size: 20"),
        (["--method", "gptq", "--group-size", "0"], "group_size: 0 .* multiple of 8, at most 64"),
        (["--method", "rtn", "--group-size", "-8"], "group_size: -8 .* multiple of 8"),
        (
            ["--method", "rtn", "--group-size", "128"],
            r"group_size: 128 .* 64 \(the inputs of self_attn.q_proj\), or -1: all of a row$",
        ),
        (["--method", "int8", "--group-size", "32"], "int8 has no groups"),
        (["--method", "rtn", "--act-order"], "act_order: True .* gptq, not rtn"),
        (["--method", "rtn", "--samples", "8"], "rtn calibrates nothing"),
        (["--method", "gptq", "--sequence-length", "65"], "at most the model's 64 positions"),
        (["--method", "gptq", "--format", "gguf"], "format: 'gguf'"),
        (["--method", "smoothquant", "--format", "gptq"], "format: 'gptq'"),
        (["--method", "int8", "--format", "gptq"], "'gptq' .* holds int8 in 8 bits with a scale"),
        (["--method", "int8", "--format", "gptq_v2"], "format: 'gptq_v2' .*, as compressed-ten"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_settings_that_cannot_work_are_refused_in_a_line(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    import re

    line = refused(capsys, model, *options, "--out", tmp_path / "out")
    assert re.search(message, line), line
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_finite_are_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = torch.inf
    save_file(weights, model / "model.safetensors")
    for method in ("gptq", "rtn"):
        line = refused(capsys, model, "--method", method, "--out", tmp_path / "out")
        assert "'model.layers.1.mlp.up_proj.weight' holds numbers that are not finite" in line
        assert not (tmp_path / "out").exists()


def test_an_interrupted_run_says_how_to_go_on_and_does(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = (model, "--group-size", "32", "--out", tmp_path / "out")
    whole = tmp_path / "whole"
    assert left_with(model, "--group-size", "32", "--out", whole) == 0

    from llmbench.engines.quantization.resume import LayerStore

    save = LayerStore.save

    def save_and_stop(store: LayerStore, layer: Any) -> None:
        save(store, layer)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LayerStore, "save", save_and_stop)
        patched.setattr("sys.argv", ["llmbench", "quantize", *map(str, arguments)])
        assert left_with(*arguments) == 130
    said = capsys.readouterr().err
    assert "interrupted after 1 of 2 layers" in said
    assert said.strip().endswith(f"--out {tmp_path / 'out'} --resume")
    assert not (tmp_path / "out").exists()
    # Not by mistake from the start, nor with other settings.
    assert "--resume" in refused(capsys, *arguments)
    other = (model, "--group-size", "16", "--out", tmp_path / "out", "--resume")
    assert "same model, calibration and settings" in refused(capsys, *other)
    assert left_with(*arguments, "--resume") == 0
    ours, expected = (load_file(path / "model.safetensors") for path in (tmp_path / "out", whole))
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in expected.items())
    assert not (tmp_path / ".out.layers").exists()


@pytest.fixture
def interrupted(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`out`, whose GPTQ on 4 windows of 32 tokens has been ended after its first layer."""
    from llmbench.engines.quantization.resume import LayerStore

    save = LayerStore.save

    def save_and_stop(store: LayerStore, layer: Any) -> None:
        save(store, layer)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(LayerStore, "save", save_and_stop)
        assert left_with(model, "--samples", "4", "--sequence-length", "32", "--out", out) == 130
    return out


def test_the_same_tokens_in_windows_of_another_length_are_another_calibration(
    model: Path, interrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ("--samples", "2", "--sequence-length", "64", "--out", interrupted)
    line = refused(capsys, model, *other, "--resume")
    assert "same model, calibration and settings" in line
    # What cannot be gone on with is not proposed.
    assert "--resume" not in refused(capsys, model, *other)


def test_a_method_without_layers_leaves_those_of_another(
    model: Path, interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = tmp_path / ".out.layers" / "layer-00000.safetensors"
    arguments = (model, "--method", "rtn", "--out", interrupted)
    assert "1 layers of another quantisation" in refused(capsys, *arguments)
    assert "same model, calibration" in refused(capsys, *arguments, "--resume")
    assert layers.exists()
    assert left_with(*arguments, "--overwrite") == 0
    assert not layers.exists()


def test_ended_from_outside_it_says_how_to_go_on(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """SIGTERM, after a layer; what the process did about it before, it does again."""
    import os
    import signal

    from llmbench.engines.quantization.resume import LayerStore

    save = LayerStore.save

    def save_and_end(store: LayerStore, layer: Any) -> None:
        save(store, layer)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(LayerStore, "save", save_and_end)
    assert left_with(model, "--group-size", "32", "--out", tmp_path / "out") == 130
    assert "interrupted after 1 of 2 layers; this goes on: " in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("method", ["gptq", "rtn"])
def test_it_says_how_far_it_is(
    method: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Layers, where there are any, and what is written, a line for each tenth."""
    assert left_with(model, "--method", method, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert ("layer 2 of 2: loss" in said) == (method == "gptq")
    total = len(tiny_model("grouped heads, tied")[1])
    assert f"{total} of {total} parameters written" in said
    assert said.count("parameters written") == 10
    assert ("CompressedTensorsConfig(dequantize=True)" in said) == (method == "rtn")
    assert left_with(model, "--out", tmp_path / "quiet", "--quiet") == 0
    assert "written" not in capsys.readouterr().err


def test_what_is_there_is_replaced_only_when_asked(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert left_with(model, "--method", "rtn", "--out", out) == 0
    before = (out / "config.json").read_bytes()
    assert "--overwrite" in refused(capsys, model, "--method", "int8", "--out", out)
    assert (out / "config.json").read_bytes() == before
    assert left_with(model, "--method", "int8", "--overwrite", "--out", out) == 0
    assert (out / "config.json").read_bytes() != before
    # A quantised model is no input, and no other directory is written over.
    assert "not quantised yet" in refused(capsys, out, "--out", tmp_path / "twice")
    assert "out:" in refused(capsys, model, "--overwrite", "--out", model)


@pytest.mark.parametrize("out", ["file/out", "a" * 250, "~nobody-of-this-name/file/out"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    out: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "~nobody-of-this-name").mkdir()
    (tmp_path / "~nobody-of-this-name" / "file").write_text("")
    monkeypatch.setattr(command, "quantize_model", None)
    assert "out:" in refused(capsys, model, "--out", out)


@pytest.mark.parametrize("method", ["gptq", "rtn"])
def test_a_disk_that_fills_up_is_said_in_a_line_and_costs_nothing(
    method: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files may hold as much as a layer needs (of gptq, which keeps layers) or nothing at all, and
    not the model; with room again, the same command goes on."""
    import resource

    out = tmp_path / "out"
    arguments = (model, "--method", method, "--group-size", "32", "--out", out)
    assert left_with(model, "--method", "rtn", "--out", out) == 0
    before = (out / "model.safetensors").read_bytes()
    for limit in (1000, len(before) * 2 // 3):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            line = refused(capsys, *arguments, "--overwrite")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "cannot be written" in line
        assert "(File too large)" in line
        assert (out / "model.safetensors").read_bytes() == before
    left = {path.name for path in tmp_path.iterdir()}
    layers = {".out.layers"} if method == "gptq" else set()
    assert left == {"model", "out", *layers}
    assert left_with(*arguments, "--overwrite", "--resume") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"model", "out"}


def test_the_bundled_model_runs_as_it_was_quantised(tmp_path: Path) -> None:
    """From the command to tokens: the engine finds out by itself what the directory is."""
    from llmbench.engines import LLM, SamplingParams

    out = tmp_path / "out"
    options = ("--samples", "4", "--sequence-length", "128", "--quiet")
    assert left_with("bundled", "--method", "gptq", *options, "--out", out) == 0
    llm = LLM(str(out), max_model_len=64)
    answer = llm.generate(["The ship"], SamplingParams(max_tokens=4))[0]
    assert len(answer.token_ids) == 4
