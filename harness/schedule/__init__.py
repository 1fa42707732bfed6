"""Schedules you can read: what an engine does with a few requests, step by step, with no model.

>>> from llmbench.harness.schedule import Scenario, ScenarioRequest, schedule
>>> scenario = Scenario(
...     engine="paged",
...     block_size=4,
...     pool_blocks=5,
...     requests=[
...         ScenarioRequest(id="a", prompt_tokens=8, output_tokens=5),
...         ScenarioRequest(id="b", prompt_tokens=8, output_tokens=4),
...     ],
... )
>>> found = schedule(scenario)
>>> print("\\n".join(found.lines))
P a0+8 b0+8
D a | preempt b
D a
D a
D a
P b0+9
D b
D b
>>> found.steps[1].waiting, found.steps[1].kv.free
(('b',), 2)
>>> found.requests[1].preemptions, found.requests[1].recomputed_tokens
(1, 8)

`with_engine` puts another engine into a scenario, `with_settings` changes single settings;
`load_scenario` reads a file or one of the scenarios that ship, by name.
"""

from __future__ import annotations

from .read import load_scenario, parse_scenario, shipped, with_engine, with_settings
from .result import Schedule, from_json, to_json
from .run import schedule
from .scenario import EngineChoice, Scenario, ScenarioLimits, ScenarioRequest

__all__ = [
    "EngineChoice",
    "Scenario",
    "ScenarioLimits",
    "ScenarioRequest",
    "Schedule",
    "from_json",
    "load_scenario",
    "parse_scenario",
    "schedule",
    "shipped",
    "to_json",
    "with_engine",
    "with_settings",
]
