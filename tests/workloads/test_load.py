"""Workload files: a round trip, what is no such file, one clear line for any field."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.load import load_spec, parse_spec
from llmbench.workloads.spec import (
    FixedLength,
    LognormalLength,
    Poisson,
    Replay,
    SampledLengths,
    TraceLengths,
    WorkloadSpec,
)

from .specs import CHAT, changed, valid, written


def test_a_file_says_what_it_says(tmp_path: Path) -> None:
    assert load_spec(written(tmp_path, CHAT)) == WorkloadSpec(
        name="chat",
        num_requests=200,
        arrivals=Poisson(kind="poisson", rate_per_s=2.0, max_concurrency=16),
        lengths=SampledLengths(
            kind="sampled",
            input=LognormalLength(kind="lognormal", mu=6.63, sigma=0.99, max_tokens=4096),
            output=FixedLength(kind="fixed", tokens=64),
            correlation=-0.11,
        ),
        fit="error",
    )


def test_round_trip(tmp_path: Path) -> None:
    spec = parse_spec(valid())
    text = yaml.safe_dump(spec.model_dump(mode="json"))
    assert load_spec(written(tmp_path, text)) == spec


def test_the_name_is_the_files_when_it_gives_none(tmp_path: Path) -> None:
    assert load_spec(written(tmp_path, CHAT.replace("name: chat\n", ""))).name == "mine"


def test_trace_paths_are_beside_the_file(tmp_path: Path) -> None:
    spec = load_spec(
        written(
            tmp_path,
            "arrivals: {kind: replay, path: a/t.csv}\n"
            f"lengths: {{kind: trace, path: {tmp_path / 'u.csv'}}}\n",
        )
    )
    assert isinstance(spec.arrivals, Replay)
    assert isinstance(spec.lengths, TraceLengths)
    assert spec.arrivals.path == tmp_path / "a" / "t.csv"
    assert spec.lengths.path == tmp_path / "u.csv"


def test_the_json_schema_accepts_what_the_loader_accepts() -> None:
    schema = WorkloadSpec.model_json_schema()
    jsonschema.validate(valid(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**valid(), "rate": 1}, schema)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1, 2\nb: 3\n", "is not valid YAML at line 2"),
        ("- 1\n- 2\n", "holds no workload; expected a mapping with arrivals and lengths"),
        ("", "holds no workload"),
    ],
)
def test_a_file_that_is_no_workload(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        load_spec(written(tmp_path, text))
    assert caught.value.field == "workload"
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="cannot be read: No such file or directory"):
        load_spec(tmp_path / "none.yaml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(WorkloadError, match="cannot be read: it is not UTF-8 text"):
        load_spec(path)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "path", "tokens", "input", 3]), inner)
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    path=st.sampled_from(
        [
            ("arrivals",),
            ("arrivals", "kind"),
            ("arrivals", "rate_per_s"),
            ("arrivals", "input"),
            ("lengths",),
            ("lengths", "input"),
            ("lengths", "output", "kind"),
            ("lengths", "output", "tokens"),
            ("prompts",),
            ("name",),
            ("adjustments",),
        ]
    ),
    value=ANYTHING,
)
def test_whatever_stands_in_a_field_the_answer_is_a_spec_or_one_line(
    path: tuple[str, ...], value: object
) -> None:
    data = changed(*path, to=value)
    refusal = ""
    try:
        spec = parse_spec(data)
    except WorkloadError as error:
        refusal = str(error)
    else:
        assert parse_spec(spec.model_dump()) == spec
    assert refusal == "" or refusal.startswith((path[0], "workload"))
    assert "\n" not in refusal
