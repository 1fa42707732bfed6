"""A model quantised into a directory of its own: checked first, resumable, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from torch import Tensor

from ...engines.device import find_device
from ...engines.errors import ConfigError
from ...engines.models.catalogue import ModelFiles, resolve_model
from ...engines.models.config import ModelConfig
from ...engines.models.loader import load_config, load_model_directory, weight_bytes
from ...engines.models.tokenizer import load_tokenizer
from ...engines.quantization.calibration import (
    DEFAULT_SIZES,
    CalibrationSize,
    calibration_windows,
)
from ...engines.quantization.checkpoints.place import alone, put_right
from ...engines.quantization.checkpoints.read import read_published
from ...engines.quantization.checkpoints.write import (
    check_overwrite,
    check_writable,
    default_format,
    write_checkpoint,
)
from ...engines.quantization.identity import quantization_identity
from ...engines.quantization.layerwise import Progress
from ...engines.quantization.methods import find_method, find_quantiser
from ...engines.quantization.quantize import quantize_model
from ...engines.quantization.quantized import LayerReport
from ...engines.quantization.resume import (
    LayerStore,
    finished_layers,
    read_fingerprint,
    writing,
)
from ...engines.quantization.scheme import Scheme, asked_scheme
from .calibration_texts import BUNDLED, calibration_texts

Report = Callable[[str], None]


@dataclass(frozen=True)
class QuantizeConfig:
    """What is asked for; None: as the method has it.

    calibration: see `calibration_texts`. samples: calibration windows, of sequence_length tokens
    each. format: a published checkpoint's. resume: go on with what an interrupted run left.
    overwrite: replace a quantised model at `out`, and forget what an interrupted run left.
    """

    model: str
    method: str
    out: Path
    bits: int | None = None
    group_size: int | None = None
    symmetric: bool | None = None
    act_order: bool | None = None
    calibration: str | None = None
    samples: int | None = None
    sequence_length: int | None = None
    format: str | None = None
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Prepared:
    """A quantisation that has been checked. windows: token ids [samples, length], or None."""

    files: ModelFiles
    config: ModelConfig
    scheme: Scheme
    format: str
    out: Path
    windows: Tensor | None
    store: LayerStore | None
    device: str
    overwrite: bool

    @property
    def unfinished(self) -> Path:
        return unfinished_directory(self.out)


@dataclass(frozen=True)
class Quantized:
    """What was written. bytes: of its files of weights; bytes_before: of the model's own."""

    out: Path
    bytes: int
    bytes_before: int
    seconds: float
    report: tuple[LayerReport, ...]


def unfinished_directory(out: Path) -> Path:
    """Where finished layers wait until all are."""
    return out.with_name(f".{out.name}.layers")


def unfinished_layers(prepared: Prepared) -> int:
    """How many layers an interrupted run has left."""
    return finished_layers(prepared.unfinished)


@contextmanager
def prepare(asked: QuantizeConfig, report: Report) -> Iterator[Prepared]:
    """Check everything that can be without quantising. Within the block no other command works on a
    model for the same directory, nor on its unfinished layers: such a one is waited for, which
    `report` is told. Raises ConfigError and ModelError."""
    find_quantiser(asked.method)  # before a model is fetched
    files = resolve_model(asked.model, report)
    if read_published(files.directory) is not None:
        raise ConfigError("model", asked.model, "one that is not quantised yet")
    config = load_config(files.directory)
    scheme = asked_scheme(
        config,
        asked.method,
        bits=asked.bits,
        group_size=asked.group_size,
        symmetric=asked.symmetric,
        act_order=asked.act_order,
    )
    format = asked.format or default_format(config, scheme)
    out = _resolved(asked.out)
    check_writable(files.directory, out, format, scheme)

    def waiting() -> None:
        report(f"waiting for another command that writes {out}")

    with ExitStack() as stack:
        with writing(out):
            stack.enter_context(alone(out, waiting))
            put_right(out)
        check_writable(files.directory, out, format, scheme)  # which the other may have changed
        check_overwrite(out, asked.overwrite)
        device = str(find_device(asked.device))
        windows = _windows(asked, files, config)
        fingerprint = quantization_identity(files.directory, scheme, _bytes_of(windows))
        store = _store(asked, unfinished_directory(out), fingerprint, report)
        if windows is None:  # it has no layers to keep, and may not lose another one's
            store = None
        yield Prepared(files, config, scheme, format, out, windows, store, device, asked.overwrite)


def quantize(
    prepared: Prepared,
    progress: Progress,
    written: Callable[[int, int], None] | None = None,
    report: Report = lambda _line: None,
) -> Quantized:
    """Within the block of `prepare`: quantise, write, and forget the finished layers. Interrupted,
    it leaves them and what was at `out`. progress, written: see `quantize_layers` and
    `write_checkpoint`."""
    began_s = perf_counter()
    _, weights = load_model_directory(prepared.files.directory)
    model = quantize_model(
        prepared.config,
        weights,
        prepared.scheme,
        prepared.windows,
        device=prepared.device,
        progress=progress,
        store=prepared.store,
    )
    report(f"writing {prepared.out}")
    source = prepared.files.directory
    write_checkpoint(
        model,
        source,
        prepared.out,
        prepared.format,
        progress=written,
        overwrite=prepared.overwrite,
    )
    if prepared.store is not None:
        prepared.store.forget()
    return Quantized(
        prepared.out,
        weight_bytes(prepared.out),
        weight_bytes(prepared.files.directory),
        perf_counter() - began_s,
        model.report,
    )


def _resolved(out: Path) -> Path:
    """Where it is, for layers wait beside it. Raises ConfigError for a name that no file can have:
    those beside it are longer by 20 letters."""
    place = Path(os.path.realpath(os.path.expanduser(out)))
    try:
        place.with_name(f".{place.name}.{'x' * 18}").exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError("out", str(out), f"a directory's name ({reason})") from error
    return place


def _windows(asked: QuantizeConfig, files: ModelFiles, config: ModelConfig) -> Tensor | None:
    if not find_method(asked.method).calibrated:
        for name in ("calibration", "samples", "sequence_length"):
            if getattr(asked, name) is not None:
                allowed = f"unset: {asked.method} calibrates nothing"
                raise ConfigError(name, getattr(asked, name), allowed)
        return None
    default = DEFAULT_SIZES[asked.method]
    longest = config.max_position_embeddings
    length = asked.sequence_length or min(default.length, longest)
    if length > longest:
        raise ConfigError("sequence_length", length, f"at most the model's {longest} positions")
    size = CalibrationSize(asked.samples or default.samples, length, asked.samples or 1)
    tokenizer = load_tokenizer(files.directory)
    name = asked.calibration or BUNDLED
    return calibration_windows(calibration_texts(asked.calibration), tokenizer, size, name=name)


def _bytes_of(windows: Tensor | None) -> bytes:
    """What tells calibrations apart: the same tokens in windows of another length are another."""
    if windows is None:
        return b""
    return f"{list(windows.shape)} ".encode() + windows.numpy().tobytes()


def _store(asked: QuantizeConfig, unfinished: Path, fingerprint: str, report: Report) -> LayerStore:
    if asked.overwrite and not asked.resume:
        shutil.rmtree(unfinished, ignore_errors=True)
    found = read_fingerprint(unfinished)
    if found is not None and not asked.resume:
        done = finished_layers(unfinished)
        if found == fingerprint:
            how = f"--resume, to go on after the {done} layers that were done and lie in"
        else:
            how = f"another directory, for the {done} layers of another quantisation that lie in"
        raise ConfigError("out", str(asked.out), f"{how} {unfinished}, or --overwrite")
    return LayerStore(unfinished, fingerprint, report)
