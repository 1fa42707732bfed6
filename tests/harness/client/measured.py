"""A run against the mock server, and one of its checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmbench.harness.client.config import ClientConfig, parse_url
from llmbench.harness.client.prepare import ServerRunConfig, prepare_server_run
from llmbench.harness.client.run import measure_server
from llmbench.harness.config import LoadConfig
from llmbench.harness.mock.rule import Rule
from llmbench.harness.mock.server import MockServer, Scripted
from llmbench.harness.result import Check
from llmbench.harness.run.experiment import Measured
from llmbench.harness.run.watch import Silent

from ..mock.in_thread import in_thread

LOAD = LoadConfig(num_requests=24, max_input_len=40, max_output_len=12)
QUICK = Rule(0.002, 0.001)


def measured(
    scripted: Scripted = QUICK.script,
    *,
    load: LoadConfig = LOAD,
    owned_by: str = "llmbench-mock",
    calibration: Path | None = None,
    warmup_requests: int = 1,
    slo_s: Mapping[str, float] | None = None,
    price_per_hour: float | None = None,
    **client: Any,
) -> Measured:
    with in_thread(MockServer(scripted, owned_by=owned_by)) as url:
        config = ServerRunConfig(
            ClientConfig(parse_url(url), **client),
            load,
            tokenizer="bundled",
            warmup_requests=warmup_requests,
            slo_s=slo_s or {},
            price_per_hour=price_per_hour,
            calibration=calibration,
        )
        return measure_server(prepare_server_run(config, Silent()), Silent())


def check(found: Measured, name: str) -> Check:
    return next(one for one in found.result.validity.checks if one.id == name)
