"""What a stored configuration says of its experiment, however old the file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What names a run, was worked out from other settings or prices it; the rest decides.
NOT_SETTINGS = frozenset({"command", "stands_for", "price_per_hour"})
# What a configuration means that does not say it: settings that older versions did not have.
_UNSAID: Mapping[str, Any] = {
    "simulated": False,
    "tensor_parallel": 1,
    "load_format": "auto",
    "quant_head": "auto",
    "async_scheduling": False,
    "cuda_graphs": "off",
}


def setting_of(config: Mapping[str, Any], name: str) -> Any:
    """A setting; None where it is not set."""
    value = config.get(name)
    return _UNSAID.get(name) if value is None else value


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """All that are set and decide something."""
    names = (name for name in {**config, **_UNSAID} if name not in NOT_SETTINGS)
    return {name: value for name in names if (value := setting_of(config, name)) is not None}
