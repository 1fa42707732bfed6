"""Files written a tensor at a time: what any reader finds in them, and what writing them takes."""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import pytest
import torch
from llmbench.engines.models.config import parse_config
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.quantization.checkpoints.shards import header_room, write_shards
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.rounding import rounded_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..tiny import tiny_json

# Of every width, with lengths that would leave the next where none of its numbers may begin.
TENSORS: dict[str, Tensor] = {
    "scalar": torch.tensor(1.5),
    "odd": torch.arange(7, dtype=torch.uint8),
    "halves": torch.randn(3, 1).half(),
    "wide": torch.tensor([5, -6]),
    "brain": torch.randn(5, 3).bfloat16(),
    "transposed": torch.randn(4, 6).T,
    "codes": torch.randn(3, 8).to(torch.float8_e4m3fn),
    "none": torch.zeros(0, 4),
    "words": torch.tensor([[2**31 - 1, -1]], dtype=torch.int32),
    "signed": torch.tensor([-128, 127], dtype=torch.int8),
}


def same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.float(), other.float())


@pytest.mark.parametrize("shard_bytes", [2**30, 40])
def test_every_tensor_is_read_as_it_was(shard_bytes: int, tmp_path: Path) -> None:
    parameters = ({name: tensor} for name, tensor in TENSORS.items())
    write_shards(tmp_path, parameters, shard_bytes, header_room(TENSORS))
    files = sorted(tmp_path.glob("*.safetensors"))
    assert (len(files) == 1) == (shard_bytes > 40)
    read = {name: one for file in files for name, one in load_file(file).items()}
    assert read.keys() == TENSORS.keys()
    assert all(same(read[name], tensor) for name, tensor in TENSORS.items())
    for file in files:
        check_alignment(file)


def check_alignment(file: Path) -> None:
    """Each tensor begins at a multiple of its numbers' size, as safetensors' own writer has it."""
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert header.pop("__metadata__") == {"format": "pt"}
    assert size % 8 == 0
    for name, entry in header.items():
        begin, _ = entry["data_offsets"]
        assert begin % TENSORS[name].element_size() == 0, name


def test_a_header_that_is_full_begins_another_file(tmp_path: Path) -> None:
    """However short the estimate of its room was."""
    parameters = ({name: tensor} for name, tensor in TENSORS.items())
    write_shards(tmp_path, parameters, 2**30, header_room(list(TENSORS)[:3]))
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 2
    assert sum(len(load_file(file)) for file in files) == len(TENSORS)


def private_bytes() -> int:
    """Memory of this process that no file is mapped to, without what malloc keeps of the freed."""
    if sys.platform != "linux":
        pytest.skip("no /proc that tells")
    ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    pytest.skip("a kernel that does not tell")


def test_a_model_is_written_in_the_memory_of_a_layer(tmp_path: Path) -> None:
    """12 layers of 4 M weights in 8 bits, 50 MB on disk; a layer takes 17 MB in float32."""
    source = tmp_path / "plain"
    source.mkdir()
    data = {**tiny_json("multi-head"), "model_type": "llama", "num_hidden_layers": 12}
    data |= {"hidden_size": 512, "intermediate_size": 2048}
    shared = torch.randn(2048 * 512).bfloat16() / 32
    weights = {
        name: shared[: torch.Size(shape).numel()].view(shape).clone()
        for name, shape in parse_config(data).parameter_shapes().items()
    }
    save_file(weights, source / "model.safetensors")
    del weights, shared
    (source / "config.json").write_text(json.dumps(data))
    config, stored = load_model_directory(source)
    model = rounded_model(config, stored, "int8", None, torch.device("cpu"))
    model.maps["model.layers.0.mlp.up_proj"]  # what torch itself sets up on first use
    before = private_bytes()
    most = 0

    def watch(_done: int, _total: int) -> None:
        nonlocal most
        most = max(most, private_bytes() - before)

    out = tmp_path / "out"
    write_checkpoint(model, source, out, "compressed-tensors", progress=watch)
    assert (out / "model.safetensors").stat().st_size > 50_000_000
    assert most < 25_000_000
