"""What a stored configuration says of its experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...engines.errors import ConfigError
from ...engines.reads import why_unread
from .json_text import as_json, not_finite

# What names a run, was worked out from other settings or prices it; the rest decides.
NOT_SETTINGS = frozenset({"command", "stands_for", "price_per_hour"})
# What a configuration means that does not say it: a server, and another tool, lack such settings.
_UNSAID: Mapping[str, Any] = {
    "simulated": False,
    "tensor_parallel": 1,
    "load_format": "auto",
    "quant_activations": "auto",
    "quant_head": "auto",
    "async_scheduling": False,
    "cuda_graphs": "off",
    "whole_prompt_fits": False,
    "output_lengths": "exact",
}


def in_force(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without the settings that nothing read: what an engine was told for nothing makes no other
    experiment."""
    return {name: value for name, value in config.items() if not why_unread(name, config)}


def setting_of(config: Mapping[str, Any], name: str) -> Any:
    """A setting; None where it is not set."""
    value = config.get(name)
    return _UNSAID.get(name) if value is None else value


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """All that are set and decide something."""
    config = in_force(config)
    names = (name for name in {**config, **_UNSAID} if name not in NOT_SETTINGS)
    return {name: value for name in names if (value := setting_of(config, name)) is not None}


def check_finite(config: Mapping[str, Any]) -> None:
    """Raises ConfigError for a setting that no result can hold: JSON has no form for it, and after
    the run it would cost what was measured."""
    if found := not_finite(config):
        raise ConfigError(*found, "a finite number")


def difference(here: Mapping[str, Any], there: Mapping[str, Any]) -> str | None:
    """The first setting of `here` that `there` has otherwise: `threads is 2 there, 4 here`; None if
    there is none. Of lists, the entries that the other lacks. JSON has no tuples, so both sides are
    compared as JSON."""
    for name, value in here.items():
        mine, other = as_json(value), as_json(there.get(name))
        if mine == other:
            continue
        if isinstance(mine, list) and isinstance(other, list):
            mine, other = (
                [one for one in mine if one not in other],
                [one for one in other if one not in mine],
            )
        return f"{name} is {_told(other)} there, {_told(mine)} here"
    return None


def _told(value: Any) -> str:
    if value is None or value == []:
        return "not set"
    if isinstance(value, list):
        return " ".join(map(_told, value))
    return value if isinstance(value, str) else json.dumps(value)
