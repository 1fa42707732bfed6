"""One linear map as a library stores it, and files of several."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).parent
# As they are imported; a file each.
LIBRARIES = ("auto_round", "compressed_tensors", "gptqmodel", "torchao", "transformers")
# Between a map's name, what a tensor of it is, and the tensor's own name.
_SEPARATOR = "|"


@dataclass(frozen=True, eq=False)
class LibraryMap:
    """What a library wrote of one linear map, and what it reads there.

    settings: the `quantization_config` that it stands under. module: its name in the model.
    parts: its tensors, named as in a checkpoint. weight: [out_features, in_features], inputs in the
    model's order, in the dtype that the library computes in; None: it reads none here.
    source: what it rounded, where our rounding is to give the same bits. rtol: of the library's own
    arithmetic, beside products that are rounded once to the weight's dtype.
    """

    settings: Mapping[str, Any]
    module: str
    parts: Mapping[str, Tensor]
    weight: Tensor | None = None
    source: Tensor | None = None
    rtol: float = 0.0
    size: tuple[int, int] = field(default=(0, 0))

    def __post_init__(self) -> None:
        if self.weight is not None:
            out_features, in_features = self.weight.shape
            object.__setattr__(self, "size", (out_features, in_features))


def file_of(library: str) -> Path:
    return HERE / f"{library}.safetensors"


def save(library: str, maps: Mapping[str, LibraryMap], versions: Mapping[str, str]) -> None:
    """One file; the settings and the versions of what made it are in its header."""
    about = {}
    tensors: dict[str, Tensor] = {}
    for name, one in maps.items():
        about[name] = {
            "module": one.module,
            "settings": one.settings,
            "rtol": one.rtol,
            "size": one.size,
        }
        tensors |= {f"{name}{_SEPARATOR}parts{_SEPARATOR}{k}": v for k, v in one.parts.items()}
        for role in ("weight", "source"):
            tensor = getattr(one, role)
            if tensor is not None:
                tensors[f"{name}{_SEPARATOR}{role}"] = tensor
    metadata = {
        "made by": "python -m tests.engines.quantization.checkpoints.library_maps.make",
        "versions": json.dumps(dict(versions)),
        "maps": json.dumps(about),
    }
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, file_of(library), metadata)


def load(library: str) -> dict[str, LibraryMap]:
    with safe_open(file_of(library), "pt") as file:
        about = json.loads(file.metadata()["maps"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, no mapping
    maps = {}
    for name, one in about.items():
        start = f"{name}{_SEPARATOR}parts{_SEPARATOR}"
        maps[name] = LibraryMap(
            settings=one["settings"],
            module=one["module"],
            parts={k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)},
            weight=tensors.get(f"{name}{_SEPARATOR}weight"),
            source=tensors.get(f"{name}{_SEPARATOR}source"),
            rtol=one["rtol"],
            size=tuple(one["size"]),
        )
    return maps


def versions_of(library: str) -> dict[str, str]:
    """Of what the file was made with."""
    with safe_open(file_of(library), "pt") as file:
        return json.loads(file.metadata()["versions"])


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Shape, dtype and every bit: of floats, also the sign of a zero."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(_bytes(one), _bytes(other))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
