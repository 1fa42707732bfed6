"""Models by shape alone: what a simulation needs of one, and no weight is read.

`shapes/` holds config.json files of published models, the architecture's numbers only. SmolLM2's is
there too, so that simulating it fetches nothing. mistral-7b is version 0.3 (no sliding window).
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError, ModelError, unknown_name
from ..models.bundled import model_directory
from ..models.config import ModelConfig, NotNativeError, parse_config
from ..models.hub import HUB_ID, fetching
from ..models.json_file import read_json

CONFIG_FILE = "config.json"
_DIRECTORY = Path(__file__).with_name("shapes")


def known_shapes() -> tuple[str, ...]:
    """The names that need no file of the user's."""
    return ("bundled", *sorted(path.stem for path in _DIRECTORY.glob("*.json")))


def resolve_shape(name: str) -> ModelConfig:
    """The shape of a `config_file`. Raises ConfigError as it does, and ModelError for what is there
    and cannot be used: work is counted for the decoders of our own code only."""
    return read_shape(config_file(name))


def config_file(name: str) -> Path:
    """Of a name of `known_shapes`, a directory with a config.json, such a file, or a hub id
    org/name.

    Of a hub id config.json is fetched, if it is not in the hub's cache, with what may say beside it
    how the model is quantised. Raises ConfigError for an unknown name, with the nearest spelling.
    """
    if name.lower() in known_shapes():
        return shape_file(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return path / CONFIG_FILE
    if path.is_file() or path.suffix == ".json":
        return path
    if HUB_ID.fullmatch(name):
        return _hub_config(name)
    error = unknown_name("model", name, known_shapes())
    allowed = f"{error.allowed}, a directory with a config.json, or a hub id org/name"
    raise ConfigError("model", name, allowed, error.hint)


def shape_file(name: str) -> Path:
    """The config.json of a name of `known_shapes`. Raises ConfigError for another."""
    if name.lower() not in known_shapes():
        raise unknown_name("model", name, known_shapes())
    if name.lower() == "bundled":
        return model_directory() / CONFIG_FILE
    return _DIRECTORY / f"{name.lower()}.json"


def read_shape(path: Path) -> ModelConfig:
    """The shape that a config.json gives. Raises ModelError."""
    try:
        return parse_config(read_json(path))
    except NotNativeError as error:
        raise ModelError("model", str(path), f"has no cost model ({error})") from error


def _hub_config(name: str) -> Path:
    from huggingface_hub import snapshot_download

    from ..quantization.checkpoints.settings import SETTINGS_FILES

    with fetching(name):
        return Path(snapshot_download(name, allow_patterns=list(SETTINGS_FILES))) / CONFIG_FILE
