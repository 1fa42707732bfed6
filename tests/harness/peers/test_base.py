"""What peers make of a model is kept by its weights."""

from __future__ import annotations

import os
from pathlib import Path

from llmbench.engines.models.catalogue import ModelFiles
from llmbench.harness.peers.base import ServedModel
from llmbench.harness.peers.llama_cpp import LlamaCpp

CONVERTER = """
import sys
from pathlib import Path

source, target = Path(sys.argv[1]), Path(sys.argv[sys.argv.index("--outfile") + 1])
target.write_bytes((source / "model.safetensors").read_bytes())
"""


def model(directory: Path, weights: bytes) -> ServedModel:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.safetensors").write_bytes(weights)
    return ServedModel.of(ModelFiles("mine", directory), directory.parents[1] / "scratch")


def test_directories_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    """Known wrong here: llama.cpp and vLLM served the weights of the model measured before."""
    first, second = (model(tmp_path / run / "final", b"same") for run in ("one", "two"))
    assert first.made("Q8_0").parent == tmp_path / "scratch"
    assert first.made("Q8_0") != second.made("Q8_0")
    assert first.made("Q8_0") != first.made("Q4_0")


def test_other_weights_in_one_directory_are_kept_apart(tmp_path: Path) -> None:
    directory = tmp_path / "one" / "final"
    first = model(directory, b"first")
    assert model(directory, b"longer").made("Q8_0") != first.made("Q8_0")
    model(directory, b"other")
    os.utime(directory / "model.safetensors", ns=(0, 0))
    assert ServedModel.of(ModelFiles("mine", directory), first.scratch) != first


def test_a_file_of_llama_cpps_is_made_of_the_weights_that_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "convert_hf_to_gguf.py").write_text(CONVERTER, encoding="utf-8")
    peer = LlamaCpp(tmp_path, tmp_path, (0,))
    for run in ("one", "two"):
        made = peer._gguf("BF16", model(tmp_path / run / "final", run.encode()))
        assert made.read_bytes() == run.encode()
        assert made.suffix == ".gguf"
