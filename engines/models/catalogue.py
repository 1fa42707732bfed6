"""Which models there are, and where a model's files lie, by the name a user gives."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, ModelError, unknown_name
from ..quantization.checkpoints.settings import SETTINGS_FILES
from . import smollm2
from .bundled import model_directory
from .hub import HUB_ID, fetching

BUNDLED = "bundled"
DUMMY_REVISION = "random weights"
DUMMY_CAVEAT = "its weights are random: how fast it runs means something, what it says nothing"
_HUB_FILES = (
    *SETTINGS_FILES,
    "generation_config.json",
    "model*.safetensors",
    "gptq_model*.safetensors",
    "awq_model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine.

    revision: what identifies the weights (`sha256:…`, `gguf-sha256:…`, a hub commit); empty for a
    directory of the user's own. caveat: what every report that uses the model must say.
    """

    name: str
    directory: Path
    revision: str = ""
    caveat: str = ""


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that has a name of its own. present: no fetch is needed."""

    name: str
    description: str
    present: bool


def cache_directory() -> Path:
    """Where fetched models are kept: $LLMBENCH_CACHE, or ~/.cache/llmbench."""
    return Path(os.environ.get("LLMBENCH_CACHE") or "~/.cache/llmbench").expanduser()


def list_models() -> tuple[CatalogueEntry, ...]:
    """The models that have a name of their own; directories and hub ids come besides."""
    return (
        CatalogueEntry(
            BUNDLED,
            "small Llama trained in full precision on public-domain text; ships with llmbench",
            present=(model_directory() / "config.json").is_file(),
        ),
        CatalogueEntry(
            smollm2.NAME,
            "SmolLM2-135M-Instruct, 134.5 M parameters, fetched with pip; " + smollm2.CAVEAT,
            present=smollm2.cached_directory(cache_directory()).is_dir(),
        ),
    )


def resolve_model(
    name: str, report: Callable[[str], None] = lambda _line: None, field: str = "model"
) -> ModelFiles:
    """The files of a catalogue name, a directory, or a hub id `org/name`; fetches if it must.

    report is told of long stages, one line each. field: the setting that named it, for errors.
    Raises ModelError where files cannot be had, and ConfigError, with the nearest spelling, for a
    name that is none of these.
    """
    if name == BUNDLED:
        return _bundled()
    if name == smollm2.NAME:
        directory = smollm2.pull_smollm2(cache_directory(), report)
        return ModelFiles(
            name, directory, f"gguf-sha256:{smollm2.GGUF_SHA256[:12]}", smollm2.CAVEAT
        )
    from ..cost.shapes import known_shapes

    # os.path and not pathlib, which raises for a home, a name or a folder that it cannot look up.
    path = os.path.expanduser(name)
    if os.path.isdir(path):
        return ModelFiles(name, Path(path).resolve())
    if os.path.isfile(path):
        raise ModelError(field, name, "is a file; expected a directory with a config.json")
    if HUB_ID.fullmatch(name):
        return _from_hub(name, report, field)
    if "/" in name or os.sep in name:
        raise ModelError(field, name, "does not exist; expected a directory with a config.json")
    named = [entry.name for entry in list_models()]
    if (shape := name.lower()) in known_shapes() and shape not in named:
        problem = "is known as a shape only, without weights: simulate it, or run it with"
        raise ModelError(field, name, f"{problem} --load-format dummy")
    near = unknown_name(field, name, named)
    raise ConfigError(
        field, name, f"{near.allowed}, a model directory or a hub id org/name", near.hint
    )


def resolve_dummy(name: str) -> ModelFiles:
    """A model by its config alone, for weights that are drawn at random: a directory with a
    config.json, or a name that `cost/shapes.py` knows. Nothing is fetched.

    Raises ConfigError for an unknown name, and ModelError for a config that cannot be used.
    """
    path = os.path.expanduser(name)
    directory = Path(path).resolve() if os.path.isdir(path) else _shape_directory(name)
    return ModelFiles(name, directory, DUMMY_REVISION, DUMMY_CAVEAT)


def _shape_directory(name: str) -> Path:
    """A known shape as a directory with a config.json, which is what a model is made from. Raises
    ModelError where the cache cannot hold it."""
    from ..cost.shapes import shape_file

    source = shape_file(name)
    kept = cache_directory() / "shapes" / source.stem
    config = kept / "config.json"
    if source.name == config.name:
        return source.parent
    try:
        if not config.is_file() or config.read_bytes() != source.read_bytes():
            kept.mkdir(parents=True, exist_ok=True)
            partial = kept / f".config.{secrets.token_hex(4)}"
            partial.write_bytes(source.read_bytes())
            partial.replace(config)
    except OSError as error:
        problem = f"cannot hold the model ({error.strerror or error})"
        raise ModelError("LLMBENCH_CACHE", str(cache_directory()), problem) from error
    return kept


def _bundled() -> ModelFiles:
    weights = model_directory() / "model.safetensors"
    if not weights.is_file():
        raise ModelError("model", BUNDLED, "is not in this installation; install llmbench anew")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return ModelFiles(BUNDLED, model_directory(), f"sha256:{digest[:12]}")


def _from_hub(name: str, report: Callable[[str], None], field: str) -> ModelFiles:
    """A snapshot in the hub's own cache, fetched if it is not there and the network allows."""
    from huggingface_hub import snapshot_download

    from .describe import describe_model

    report(f"{name}: looking on the hub and in its cache")
    with fetching(name, field):
        # A model that is not supported is refused before its weights are fetched.
        describe_model(Path(snapshot_download(name, allow_patterns=["*config.json"])))
        directory = Path(snapshot_download(name, allow_patterns=list(_HUB_FILES)))
    # A snapshot lies in a folder named after its commit.
    return ModelFiles(name, directory, directory.name)
