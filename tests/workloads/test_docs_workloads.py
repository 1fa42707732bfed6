"""Every example of docs/workloads.md is a workload: to its schema, its parser, and its planner."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from llmbench.workloads.api import LengthLimits, plan_workload
from llmbench.workloads.load import load_spec
from llmbench.workloads.spec import Arrivals, WorkloadSpec
from pydantic import TypeAdapter

from .chat import word_encoder

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "workloads.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_planned(example: str, tmp_path: Path) -> None:
    jsonschema.validate(yaml.safe_load(example), WorkloadSpec.model_json_schema())
    rows = [{"turns": [f"what is {i}", "and why"]} for i in range(30)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "w.yaml").write_text(example)
    spec = load_spec(tmp_path / "w.yaml")
    plan = plan_workload(
        spec,
        seed=1,
        corpus_token_ids=range(100, 3000),
        limits=LengthLimits(None, None, 32_768),
        vocab_size=100_000,
        encoder=word_encoder(),
    )
    assert len(plan.requests) == spec.num_requests or spec.num_requests is None
    assert len(plan.requests) >= 50


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


def test_every_kind_of_arrivals_is_in_the_table() -> None:
    schema = TypeAdapter(Arrivals).json_schema()
    for kind in schema["discriminator"]["mapping"]:
        assert f"`{kind}`" in TEXT, kind
