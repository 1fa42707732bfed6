"""Azure 2023: the published facts of the real files, and every bad row by its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from llmbench.workloads.api import RequestShape, WorkloadError
from llmbench.workloads.traces import read_trace

CONV = "traces/azure_llm_2023_conv/AzureLLMInferenceTrace_conv.csv"
CODE = "traces/azure_llm_2023_code/AzureLLMInferenceTrace_code.csv"


def test_times_keep_the_seventh_digit(azure_csv: Callable[..., Path]) -> None:
    path = azure_csv("2023-11-16 23:59:59.9999999,374,44", "2023-11-17 00:00:00.0000001,0,109")
    assert read_trace(path) == (RequestShape(0.0, 374, 44), RequestShape(2e-7, 0, 109))


def test_offsets_and_columns_in_another_order_are_understood(
    azure_csv: Callable[..., Path],
) -> None:
    path = azure_csv(
        "1,a,2024-05-10 00:00:00.009930+00:00,7",
        "2,b,2024-05-10 02:00:00.509930+02:00,8",
        header="GeneratedTokens,Service,TIMESTAMP,ContextTokens",
    )
    assert read_trace(path) == (RequestShape(0.0, 7, 1), RequestShape(0.5, 8, 2))


def test_the_form_of_2024_is_understood(azure_csv: Callable[..., Path]) -> None:
    """Six digits or none, and an offset: the same columns a year later."""
    path = azure_csv(
        "2024-05-10 00:00:00.009930+00:00,2162,5",
        "2024-05-10 00:00:01+00:00,2399,6",
        "2024-05-12 00:00:01.000001+00:00,76,15",
    )
    assert [row.t_due_s for row in read_trace(path)] == [0.0, 0.99007, 2 * 86400 + 0.990071]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            "yesterday,5,6",
            "has 'yesterday' in column TIMESTAMP at line 3; "
            "expected a time such as 2023-11-16 18:17:03.9799600",
        ),
        ("2023-13-16 18:00:01.0,5,6", "has '2023-13-16 18:00:01.0' in column TIMESTAMP at line 3;"),
        (
            "2023-11-16 17:59:59.9,5,6",
            "has '2023-11-16 17:59:59.9' in column TIMESTAMP at line 3; "
            "expected a time no earlier than the row above",
        ),
        (
            "2023-11-16 18:00:01.0,-5,6",
            "has '-5' in column ContextTokens at line 3; expected 0 tokens or more",
        ),
        (
            "2023-11-16 18:00:01.0,5,six",
            "has 'six' in column GeneratedTokens at line 3; expected a whole number of tokens",
        ),
        ("2023-11-16 18:00:01.0,5.5,6", "has '5.5' in column ContextTokens at line 3;"),
        ("2023-11-16 18:00:01.0,5", "has nothing in column GeneratedTokens at line 3;"),
    ],
)
def test_a_bad_row_is_named(azure_csv: Callable[..., Path], row: str, problem: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_trace(azure_csv("2023-11-16 18:00:00.0,1,1", row))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_alone_is_no_trace(azure_csv: Callable[..., Path]) -> None:
    with pytest.raises(WorkloadError, match="has a header and no rows; expected at least one row"):
        read_trace(azure_csv())


# Rows, rate, CV of gaps; mean, p50, p90, p99 of input and output: published with the data.
@pytest.mark.parametrize(
    ("file", "rows", "rate_per_s", "cv", "inputs", "outputs"),
    [
        (CONV, 19_366, 5.53, 1.09, (1155, 1020, 2734, 4142), (211, 129, 424, 601)),
        (CODE, 8_819, 2.57, 13.2, (2048, 1469, 5188, 7436), (28, 13, 55, 251)),
    ],
)
def test_the_real_traces_have_their_published_facts(
    shared_data: Path,
    file: str,
    rows: int,
    rate_per_s: float,
    cv: float,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> None:
    trace = read_trace(shared_data / file)
    assert len(trace) == rows
    times_s = np.array([row.t_due_s for row in trace], dtype=float)
    gaps_s = np.diff(times_s)
    assert times_s[0] == 0
    assert rows / times_s[-1] == pytest.approx(rate_per_s, rel=0.005)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.005)
    for tokens, published in (
        ([row.input_tokens for row in trace], inputs),
        ([row.output_tokens for row in trace], outputs),
    ):
        found = (np.mean(tokens), *np.percentile(tokens, (50, 90, 99)))
        assert found == pytest.approx(published, abs=1)
