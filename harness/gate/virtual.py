"""One run in virtual time, from its options to its result, with nothing written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..result import Result


def simulate_options(options: Mapping[str, Any]) -> Result:
    """The result of `llmbench simulate` with these options. Raises ConfigError for `options` where
    they are none, and what a simulation raises for what they say."""
    from ..options.words import simulated_settings, words_of_mapping
    from ..run.watch import Silent
    from ..simulation.simulate import prepare_simulation, simulate

    settings, machine = simulated_settings(words_of_mapping("options", options), "options")
    return simulate(prepare_simulation(settings, machine), Silent()).result
