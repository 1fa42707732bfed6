"""Numbers: how large, how small, and what is none."""

from __future__ import annotations

import jsonschema
import numpy as np
import pytest
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.load import parse_spec
from llmbench.workloads.spec import WorkloadSpec

from .specs import COUNT, RATE, changed, valid


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        (("num_requests",), True, COUNT),
        (("num_requests",), 100_000_000_000, COUNT),
        (("num_requests",), 10**4000, COUNT),
        (("samples",), 100_000_000, "a whole number from 1 to 1,024"),
        (("arrivals", "rate_per_s"), "5", RATE),
        (("arrivals", "rate_per_s"), True, RATE),
        (("arrivals", "rate_per_s"), 1e308, RATE),
        (("arrivals", "rate_per_s"), 1e-308, RATE),
        (("arrivals", "max_concurrency"), 1e12, COUNT),
        (("lengths", "output", "tokens"), 10**12, "a whole number from 1 to 16,777,216"),
        (("lengths", "output", "tokens"), 5.5, "a whole number from 1 to 16,777,216"),
        (("lengths", "input", "mu"), 1000, "a number from -20 to 20"),
        (("lengths", "input", "sigma"), 1e300, "a number from 1e-09 to 20"),
        (("arrivals",), {"kind": "gamma", "rate_per_s": 1, "cv": 1e-200}, None),
        (("arrivals",), {"kind": "gamma", "rate_per_s": 1, "cv": 1e9}, None),
        (("sessions",), {"turns": {"kind": "geometric", "mean": 1e308}}, None),
        (("sessions",), {"think_s": {"kind": "lognormal", "mu": 9e9, "sigma": 1}}, None),
    ],
)
def test_a_number_beyond_its_bounds_or_that_is_none_is_refused(
    path: tuple[str, ...], value: object, allowed: str | None
) -> None:
    with pytest.raises(WorkloadError) as caught:
        parse_spec(changed(*path, to=value))
    said = str(caught.value)
    assert said.startswith(".".join(path))
    assert " is not allowed; expected a " in said
    assert len(said) < 200
    if allowed is not None:
        assert said.endswith(f"is not allowed; expected {allowed}")


def test_a_truth_value_is_no_word_for_one() -> None:
    prompts = {"kind": "text", "path": "x", "chat": "yes"}
    with pytest.raises(
        WorkloadError, match=r"prompts\.chat: 'yes' is not allowed; expected true or"
    ):
        parse_spec({**changed("lengths", to={"kind": "text"}), "prompts": prompts})


def test_bounds_are_in_the_schema() -> None:
    schema = WorkloadSpec.model_json_schema()
    for wrong in ({"num_requests": 10**9}, {"samples": 0}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**valid(), **wrong}, schema)


def test_whole_floats_and_numpys_numbers_are_numbers() -> None:
    spec = parse_spec(changed("num_requests", to=30.0))
    assert (spec.num_requests, type(spec.num_requests)) == (30, int)
    assert isinstance(parse_spec(changed("arrivals", "rate_per_s", to=np.float64(2))), WorkloadSpec)
