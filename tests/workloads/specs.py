"""A workload file, and what is said of numbers that may not stand in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CHAT = """\
name: chat
num_requests: 200
arrivals: {kind: poisson, rate_per_s: 2.0, max_concurrency: 16}
lengths:
  kind: sampled
  input: {kind: lognormal, mu: 6.63, sigma: 0.99, max_tokens: 4096}
  output: {kind: fixed, tokens: 64}
  correlation: -0.11
"""
COUNT = "a whole number from 1 to 10,000,000"
RATE = "a number from 1e-09 to 1,000,000,000"


def valid() -> dict[str, Any]:
    return yaml.safe_load(CHAT)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(*path: str, to: object) -> dict[str, Any]:
    data = valid()
    part = data
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = to
    return data
