"""Where a checkpoint says how it is quantised: in config.json, or in a file beside it.

transformers and vLLM go by config.json. AutoGPTQ and AutoAWQ had a file of their own before there
was such a place, GPTQModel writes both and reads its own, and ModelOpt has long had one. So which
of two that differ is right depends on who reads, and nobody can tell here.
"""

from __future__ import annotations

from pathlib import Path

from ...models.json_file import read_json
from .fields import Fields

CONFIG_FILE = "config.json"
QUANTIZATION = "quantization_config"
MODELOPT_FILE = "hf_quant_config.json"
# AutoGPTQ's and GPTQModel's; AutoAWQ's, which some publish under AutoGPTQ's name.
GPTQ_FILE, AWQ_FILE = "quantize_config.json", "quant_config.json"
_BESIDE = (GPTQ_FILE, AWQ_FILE, MODELOPT_FILE)
SETTINGS_FILES = (CONFIG_FILE, *_BESIDE)

# What AutoAWQ calls the fields that others have, too.
_AWQ_NAMES = {"bits": "w_bit", "group_size": "q_group_size"}
# Fields that say what a weight is. The others, of how it was found, may differ.
_DECISIVE = (
    "quant_method",
    "quant_algo",
    "bits",
    "group_size",
    "sym",
    "zero_point",
    "desc_act",
    "checkpoint_format",
    "version",
    "lm_head",
    "dynamic",
)


def read_settings(directory: Path) -> Fields | None:
    """The settings, with their `quant_method`; None for a checkpoint that is not quantised. What
    one file leaves out is as another says.

    Raises ModelError for a file that cannot be read, and for two that disagree about a weight.
    """
    data = read_json(directory / CONFIG_FILE).get(QUANTIZATION)
    # transformers writes an empty one for nothing.
    config = None if data in (None, {}) else Fields(data, QUANTIZATION, _AWQ_NAMES)
    beside = [_beside(directory, name) for name in _BESIDE if (directory / name).exists()]
    found = [settings for settings in (config, *beside) if settings is not None]
    if not found:
        return None
    settings = found[0]
    for other in found[1:]:
        _check_alike(settings, other)
        settings = settings.before(other)
    return settings


def _beside(directory: Path, name: str) -> Fields | None:
    data = read_json(directory / name)
    if name == MODELOPT_FILE:
        settings = Fields(data, name).inner("quantization")
        return settings.having(quant_method="modelopt") if settings.get("quant_algo") else None
    settings = Fields(data, name, _AWQ_NAMES)
    if settings.get("quant_method") is not None:
        return settings
    # Older than the field. Only AWQ's settings speak of a zero point.
    awq = name == AWQ_FILE or settings.get("zero_point") is not None
    return settings.having(quant_method="awq" if awq else "gptq")


def _check_alike(one: Fields, other: Fields) -> None:
    """A field that only one of them states is no contradiction."""
    for name in _DECISIVE:
        mine, theirs = (_plain(settings.get(name)) for settings in (one, other))
        if None not in (mine, theirs) and mine != theirs:
            place = one.source(name).place
            raise other.wrong(name, f"is not what {place} has, {one.get(name)!r}")


def _plain(value: object) -> object:
    """AutoAWQ writes its version in capitals."""
    return value.lower() if isinstance(value, str) else value
