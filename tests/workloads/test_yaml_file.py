"""YAML as it is meant, and what of it is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.load import load_spec
from llmbench.workloads.spec import FixedLength, Poisson, SampledLengths

from .specs import CHAT, COUNT, written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_requests: 3\nnum_requests: 5\n", "has num_requests twice, at line 1 and at line 2;"),
        ("a: {b: 1, c: 2, b: 3}\n", "has b twice, at line 1 and at line 1;"),
        ("[" * 2000 + "\n", "is not valid YAML: it is nested too deeply; expected a YAML file"),
    ],
)
def test_a_file_that_says_too_much(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        load_spec(written(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_of_5000_digits_is_named_by_its_field(tmp_path: Path) -> None:
    text = CHAT.replace("num_requests: 200", "num_requests: " + "9" * 5000)
    with pytest.raises(WorkloadError) as caught:
        load_spec(written(tmp_path, text))
    assert str(caught.value).startswith("num_requests: '9999")
    assert str(caught.value).endswith(f"… is not allowed; expected {COUNT}")


@pytest.mark.parametrize("count", ["010", "1:30", "-0_17", '!!bool "x"', '!!int "x"'])
def test_what_yaml_1_1_makes_another_number_of_is_refused_by_its_field(
    tmp_path: Path, count: str
) -> None:
    """Known wrong here: 8 requests of 010, 90 of 1:30, and a traceback of a malformed bool."""
    text = CHAT.replace("num_requests: 200", f"num_requests: {count}")
    with pytest.raises(WorkloadError) as caught:
        load_spec(written(tmp_path, text))
    said = re.sub(r'^!!\w+ "|"$', "", count)
    assert str(caught.value) == f"num_requests: {said!r} is not allowed; expected {COUNT}"


def test_a_value_that_grows_as_it_is_written_out_is_cut_short(tmp_path: Path) -> None:
    """Ten lists of ten of the list before, nine times: a billion texts in ten lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(WorkloadError) as caught:
        load_spec(written(tmp_path, "\n".join((*lines, "arrivals: *a9", ""))))
    assert len(str(caught.value)) < 2000


def test_exponents_anchors_and_merges_are_read_as_they_are_meant(tmp_path: Path) -> None:
    text = (
        "num_requests: 1e2\n"
        "arrivals: {kind: poisson, rate_per_s: 1e-3}\n"
        "lengths:\n"
        "  kind: sampled\n"
        "  input: &one {kind: fixed, tokens: 64}\n"
        "  output: &two {<<: *one, tokens: 8}\n"
        "prompts: {kind: random, shared_prefix_tokens: 0}\n"
    )
    spec = load_spec(written(tmp_path, text))
    assert spec.num_requests == 100
    assert isinstance(spec.arrivals, Poisson)
    assert spec.arrivals.rate_per_s == 0.001
    assert isinstance(spec.lengths, SampledLengths)
    assert spec.lengths.output == FixedLength(kind="fixed", tokens=8)
