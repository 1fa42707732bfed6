"""A model quantised into a directory: what is counted of it, and two commands for one directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.scheme import Scheme
from llmbench.harness.quality.quantize import (
    QuantizeConfig,
    prepare,
    quantize,
    unfinished_directory,
)

from ...engines.quantization.checkpoints.directories import WEIGHTS, plain_directory, rounded
from ...engines.quantization.tiny import SHAPES


def silent(*_: object) -> None: ...


def asked(model: Path, out: Path, **settings: Any) -> QuantizeConfig:
    return QuantizeConfig(str(model), settings.pop("method", "rtn"), out, **settings)


def test_only_files_that_are_read_are_counted(tmp_path: Path) -> None:
    """Mistral's directories have their weights twice, under two names."""
    model, out = plain_directory(tmp_path / "model"), tmp_path / "out"
    shutil.copyfile(model / WEIGHTS, model / "consolidated.safetensors")
    with prepare(asked(model, out), silent) as prepared:
        made = quantize(prepared, silent)
    assert made.bytes_before == (model / WEIGHTS).stat().st_size
    assert made.bytes == (out / WEIGHTS).stat().st_size


@pytest.mark.parametrize("format", ["gptq", "compressed-tensors"])
def test_whole_rows_are_written_of_a_model_that_no_group_fits(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"hidden_size": 48, "intermediate_size": 136, "head_dim": 16}
    monkeypatch.setitem(SHAPES, "narrow", SHAPES["multi-head"] | sizes)
    model, out = plain_directory(tmp_path / "model", "narrow"), tmp_path / "out"
    config = asked(model, out, group_size=-1, symmetric=True, format=format)
    with prepare(config, silent) as prepared:
        quantize(prepared, silent)
    _, read = read_checkpoint(out)
    assert read.scheme.group_size is None
    assert len(read.maps) == 14


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_command_for_a_directory_waits_and_says_so(
    overwrite: bool, tmp_path: Path
) -> None:
    """From the first check to the last file: then it sees what the first one has left."""
    model, out = plain_directory(tmp_path / "model"), tmp_path / "deep" / "out"
    said: Queue[str] = Queue()
    found: list[str] = []

    def second() -> None:
        try:
            config = asked(model, out, method="int8", overwrite=overwrite)
            with prepare(config, said.put) as prepared:
                quantize(prepared, silent)
            found.append("replaced")
        except ConfigError as error:
            found.append(str(error))

    with prepare(asked(model, out), silent) as prepared:
        thread = Thread(target=second)
        thread.start()
        assert said.get(timeout=60) == f"waiting for another command that writes {out}"
        quantize(prepared, silent)
        assert thread.is_alive()
        assert found == []
    thread.join(60)
    assert said.empty()  # it said so once
    assert found == ["replaced"] if overwrite else "--overwrite replaces" in found[0]
    assert read_checkpoint(out)[1].scheme.method == ("int8" if overwrite else "w4a16")
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_unfinished_layers_are_not_taken_from_under_a_command_that_makes_them(
    tmp_path: Path,
) -> None:
    """`--overwrite` forgets what an interrupted command left, not what a running one has done."""
    model, out = plain_directory(tmp_path / "model"), tmp_path / "out"
    layers = unfinished_directory(out)
    waiting, went = Event(), Event()

    def second() -> None:
        with prepare(asked(model, out, overwrite=True), lambda _line: waiting.set()):
            went.set()

    with prepare(asked(model, out), silent):
        layers.mkdir()
        (layers / "layer-00000.safetensors").touch()
        thread = Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        assert (layers / "layer-00000.safetensors").exists()
    thread.join(60)
    assert went.is_set()
    assert not layers.exists()


def test_a_model_that_came_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """By a program that does not work on it as the command does."""
    model, out = plain_directory(tmp_path / "model"), tmp_path / "out"
    with prepare(asked(model, out), silent) as prepared:
        write_checkpoint(rounded(Scheme("int8", 8)), model, out, "compressed-tensors")
        with pytest.raises(ConfigError, match="--overwrite replaces this one"):
            quantize(prepared, silent)
    assert read_checkpoint(out)[1].scheme.method == "int8"
