from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmbench.reports.format import (
    THIN,
    addends,
    as_sentence,
    count,
    duration,
    moment,
    number,
    percent,
    plural,
    quantity,
    rounded_percent,
    scale_of,
    scale_of_typical,
    seconds,
    seconds_in,
    setting,
    size,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (3, "3"),
        (3.14159, "3.14"),
        (9.996, "10.0"),
        (14.32, "14.3"),
        (99.96, "100"),
        (143.4, "143"),
        (1430.2, f"1{THIN}430"),
        (1234567, f"1{THIN}234{THIN}567"),
        (0.01432, "0.0143"),
        (-2.5, "\u22122.50"),
        (0.000012, "1.20e\u221205"),
        (None, "n/a"),
        (math.nan, "n/a"),
        (math.inf, "n/a"),
    ],
)
def test_number_has_three_digits_and_thin_groups(value: float | None, text: str) -> None:
    assert number(value) == text


@given(st.floats(min_value=1e-4, max_value=1e15))
def test_number_reads_back_within_half_a_percent(value: float) -> None:
    read = float(number(value).replace(THIN, ""))
    assert read == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00021, "210 µs"),
        (0.2104, "210 ms"),
        (0.9, "900 ms"),
        (1.237, "1.24 s"),
        (83.44, "83.4 s"),
        (0, "0 ms"),
        (None, "n/a"),
        (math.nan, "n/a"),
    ],
)
def test_seconds_are_shown_in_the_unit_that_suits(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_a_row_has_one_unit_so_that_its_numbers_can_be_compared() -> None:
    scale = scale_of("s", [0.21, 4.5, None, math.nan])
    assert scale.unit == "ms"
    assert [scale.number(value) for value in (0.21, 4.5, None)] == ["210", f"4{THIN}500", "n/a"]
    assert scale_of("s", [0.21, 12.0]).unit == "s"


@pytest.mark.parametrize(
    ("typical", "values", "unit"),
    [
        # Known wrong here: gaps of 87 ms beside one stall of 15 s were "0.0874 s".
        ([0.0874], [0.267, 0.0874, 0.0918, 15.0], "ms"),
        ([12.0], [0.2, 12.0, 30.0], "s"),
        ([2e-5], [2e-5, 3e-4], "µs"),
        # Known wrong here: "1 252 µs … 84 120 µs" beside a row of milliseconds.
        ([8e-4], [1.252e-3, 8e-4, 0.08412], "ms"),
        ([2e-5], [2e-5, 0.191], "ms"),
        ([0.0], [0.0, 12.0], "s"),
        ([None], [0.21, None], "ms"),
    ],
)
def test_statistics_of_one_metric_have_the_unit_of_its_median(
    typical: list[float | None], values: list[float | None], unit: str
) -> None:
    assert scale_of_typical("s", typical, values).unit == unit


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "0.999 KiB"),
        (1024, "1 KiB"),
        (77 * 2**20, "77 MiB"),
        (1.5 * 2**30, "1.50 GiB"),
        (1_073_725_440, "1 GiB"),
        (10 * 2**20 + 8, "10 MiB"),
        (5000 * 2**40, f"5{THIN}000 TiB"),
        (None, "n/a"),
    ],
)
def test_size_is_binary(value: float | None, text: str) -> None:
    assert size(value) == text


def test_other_units_are_kept() -> None:
    assert quantity(143.4, "tokens/s") == "143 tokens/s"
    assert percent(0.0321) == "3.21 %"
    assert percent(None) == "n/a"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.9987, "99.9 %"),
        (0.9996, "99.96 %"),
        (1 - 1e-9, "99.99 %"),
        (1.0, "100 %"),
        (1.004, "100 %"),
    ],
)
def test_only_all_of_it_is_100_percent(share: float, text: str) -> None:
    """One request in 2500 missed its SLO: who reads "100 %" takes it that none did."""
    assert percent(share) == text


def test_counts_are_whole_and_grouped() -> None:
    assert count(32.0) == "32"
    assert count(1809) == f"1{THIN}809"
    assert count(math.nan) == "n/a"
    assert plural(1, "request") == "1 request"
    assert plural(2, "reply", "replies") == "2 replies"


@pytest.mark.parametrize(
    ("value", "text"), [(48.2, "48.2 s"), (725, "12 min 5 s"), (7500, "2 h 5 min")]
)
def test_duration(value: float, text: str) -> None:
    assert duration(value) == text


def test_moment_is_to_the_minute() -> None:
    assert moment("2026-01-02T03:04:05+00:00") == "2026-01-02\u00a003:04"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("kv_memory_bytes", 2**30, "1 GiB"),
        ("max_concurrency", None, "n/a"),
        ("seed", 20260102, "20260102"),
        ("chunked_prefill", True, "yes"),
        ("request_rate", 4.5, "4.5"),
        ("max_num_batched_tokens", 2048, f"2{THIN}048"),
        ("isa", ["avx2", "fma"], "avx2, fma"),
        ("slo", {"ttft": 0.25}, "ttft 0.25"),
        ("engine", "paged", "paged"),
        ("arrivals.rate_per_s", 0.642, "0.642/s"),
        ("lengths", list(range(33)), ", ".join(map(str, range(30))) + ", … and 3 more"),
    ],
)
def test_settings(field: str, value: object, text: str) -> None:
    assert setting(field, value) == text


@pytest.mark.parametrize(
    ("whole", "parts", "shown"),
    [
        (34.47, [33.7, 0.774, 0.0003, 0.0], ["33.7", "0.8", "0.0", "0"]),
        (3313.0, [2599.0, 563.2, 21.3], [f"2{THIN}599", "563", "21"]),
        (0.0, [0.0], ["0"]),
    ],
)
def test_parts_have_the_decimals_of_their_whole(
    whole: float, parts: list[float], shown: list[str]
) -> None:
    assert addends(whole, parts) == shown


@pytest.mark.parametrize(
    ("share", "digits", "signed", "text"),
    [
        (0.0321, 0, False, "3 %"),
        (0.0321, 1, False, "3.2 %"),
        (0.0321, 1, True, "+3.2 %"),
        (-0.0321, 1, True, "-3.2 %"),
        (-0.001, 0, False, "0 %"),
        (1, 2, False, "100.00 %"),
    ],
)
def test_a_share_of_as_many_digits_as_those_beside_it(
    share: float, digits: int, signed: bool, text: str
) -> None:
    assert rounded_percent(share, digits, signed=signed) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("one run is short", "One run is short."),
        ("It ended.", "It ended."),
        ("kv=paged is missing", "kv=paged is missing."),
    ],
)
def test_a_note_becomes_a_sentence_and_keeps_a_name(text: str, sentence: str) -> None:
    assert as_sentence(text, keeps=lambda word: "=" in word) == sentence


@pytest.mark.parametrize(
    ("time_s", "shown"),
    [(0.0, "0"), (9.38e-05, "0"), (0.0006, "0.000600"), (12.345, "12.3"), (math.nan, "n/a")],
)
def test_the_first_moments_of_a_run_are_its_start(time_s: float, shown: str) -> None:
    """Known wrong here: "9.38e-05" in a column of seconds."""
    assert seconds_in(time_s) == shown
