"""Where an interrupted quantisation goes on: a directory with a file for each finished layer."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import ConfigError, ModelError
from ..models.config import LAYERS
from .layer import LayerMaps, LayerTensors
from .lazy import Lazy
from .quantized import PACKED, LayerReport, PackedWeight, QuantizedMap

STATE_FILE = "state.json"
# Of the files' layout: raise it when they could no longer be read alike.
_VERSION = 5
_GONE = os.strerror(errno.ENOENT)
# By the names that the files hold.
_TYPES: dict[str, Callable[..., PackedWeight]] = {
    type_.__name__: type_ for type_, _ in PACKED.values()
}


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """A finished layer, on the CPU: see `QuantizedLayer`."""

    maps: LayerMaps
    folded: LayerTensors
    report: LayerReport


class LayerStore:
    """Finished layers of one quantisation in `directory`, each file whole or absent.

    fingerprint: names everything the layers depend on: model, calibration, scheme, method.
    report: told of a layer that has to be made again.
    Raises ConfigError where the directory holds another quantisation's layers.
    """

    def __init__(
        self,
        directory: Path,
        fingerprint: str,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._directory = directory
        self._fingerprint = fingerprint
        self._report = report
        self._check_owner()

    def load(self, index: int) -> StoredLayer | None:
        """Layer `index`; None where it is not finished, or another process has forgotten it since,
        or its file is not as it was written, or is another quantisation's, which began here before
        either had saved a layer."""
        try:
            with safe_open(self._path(index), framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                metadata = file.metadata()
            described = metadata["layer"]
            if metadata["checksum"] != _checksum(tensors, described):
                return None
            if metadata["fingerprint"] != self._fingerprint:
                return None
        except (SafetensorError, KeyError, TypeError, FileNotFoundError):
            return None
        except RuntimeError as error:  # PyTorch's, of a file that went after its header was read
            if _GONE not in str(error):
                raise
            return None
        return _layer_of(tensors, json.loads(described))

    def resume(self, index: int) -> StoredLayer | None:
        """As `load`; a file that is damaged is said to be made again."""
        layer, path = self.load(index), self._path(index)
        if layer is None and path.is_file():
            self._report(f"layer {index + 1} is made again: {path} is damaged")
        return layer

    def save(self, layer: StoredLayer) -> None:
        """Keep a finished layer. Raises ModelError where it cannot be written, and ConfigError
        where another quantisation has begun to keep its own there."""
        self._check_owner()
        state = {"version": _VERSION, "fingerprint": self._fingerprint}
        tensors, described = _parts_of(layer)
        layer_text = json.dumps(described)
        metadata = {
            "layer": layer_text,
            "checksum": _checksum(tensors, layer_text),
            "fingerprint": self._fingerprint,
        }
        path = self._path(layer.report.layer)
        with writing(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            _write(self._directory / STATE_FILE, lambda path: path.write_text(json.dumps(state)))
            _write(path, lambda partial: save_file(tensors, partial, metadata))

    def forget(self) -> None:
        """Remove the layers, once the model that they make is whole; no other quantisation's."""
        if read_fingerprint(self._directory) == self._fingerprint:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _check_owner(self) -> None:
        found = read_fingerprint(self._directory)
        if found is not None and found != self._fingerprint:
            allowed = "layers of the same model, calibration and settings; or --overwrite"
            raise ConfigError("resume", str(self._directory), allowed)

    def _path(self, index: int) -> Path:
        return self._directory / f"layer-{index:05}.safetensors"


class FinishedMaps(Lazy[QuantizedMap]):
    """Modules `names` of a store's finished layers, a layer at a time in memory.

    Raises ModelError for a layer whose file is gone or damaged."""

    def __init__(self, store: LayerStore, names: Sequence[str]) -> None:
        super().__init__(names)
        self._store = store
        self._last: StoredLayer | None = None

    def make(self, name: str) -> QuantizedMap:
        index, _, within = name.removeprefix(LAYERS).partition(".")
        if self._last is None or self._last.report.layer != int(index):
            self._last = self._store.load(int(index))
            if self._last is None:
                problem = "was finished, and its layer's file is gone or damaged"
                raise ModelError("model", name, problem)
        return self._last.maps[within]


def read_fingerprint(directory: Path) -> str | None:
    """Whose layers a directory holds; None: nobody's that could go on."""
    try:
        state = json.loads((directory / STATE_FILE).read_text(encoding="utf-8"))
        return state["fingerprint"] if state["version"] == _VERSION else ""
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def finished_layers(directory: Path) -> int:
    """How many layers a directory holds."""
    return len(list(directory.glob("layer-*.safetensors")))


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Around what writes to `place`: a full disk, or one that may not be written, becomes a
    ModelError of one line."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors says what the system says, in the midst of more.
        said = str(error).rpartition("I/O error: ")[2].partition(" (os error")[0]
        reason = getattr(error, "strerror", None) or " ".join(said.split())
        raise ModelError("model", str(place), f"cannot be written ({reason})") from error


def _checksum(tensors: Mapping[str, Tensor], described: str) -> str:
    """Of all that a layer's file holds. safetensors itself notices a file that was cut off, and not
    one whose bytes are others."""
    digest = blake2b(described.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parts_of(layer: StoredLayer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A layer as tensors by name, and the rest as JSON."""
    tensors = {f"folded.{name}": tensor.contiguous() for name, tensor in layer.folded.items()}
    maps: dict[str, Any] = {}
    for name, map_ in layer.maps.items():
        parts = {field.name: getattr(map_.weight, field.name) for field in fields(map_.weight)}
        for part, value in parts.items():
            if isinstance(value, Tensor):
                tensors[f"maps.{name}:{part}"] = value.contiguous()
        if map_.order is not None:
            tensors[f"order.{name}"] = map_.order.contiguous()
        numbers = {part: value for part, value in parts.items() if isinstance(value, int)}
        maps[name] = {"form": type(map_.weight).__name__, "numbers": numbers}
    return tensors, {"maps": maps, "report": asdict(layer.report)}


def _layer_of(tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> StoredLayer:
    maps: LayerMaps = {}
    for name, entry in described["maps"].items():
        prefix = f"maps.{name}:"
        parts = {
            key.removeprefix(prefix): tensor
            for key, tensor in tensors.items()
            if key.startswith(prefix)
        }
        weight = _TYPES[entry["form"]](**parts, **entry["numbers"])
        maps[name] = QuantizedMap(weight, tensors.get(f"order.{name}"))
    folded = {
        name.removeprefix("folded."): tensor
        for name, tensor in tensors.items()
        if name.startswith("folded.")
    }
    return StoredLayer(maps, folded, LayerReport(**described["report"]))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(partial)
        with partial.open("rb") as written:  # on the disk, before it has the name of a whole file
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
