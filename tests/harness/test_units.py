from __future__ import annotations

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.units import parse_bytes, parse_seconds, parse_share


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1024", 1024),
        ("512MiB", 536_870_912),
        ("2 GiB", 2_147_483_648),
        ("1.5gb", 1_500_000_000),
        ("10k", 10_000),
        ("64KiB", 65_536),
        ("1.5TiB", 1_649_267_441_664),
        ("2tb", 2_000_000_000_000),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_bytes("kv_memory", text) == size_bytes


@pytest.mark.parametrize("text", ["", "lots", "-5MiB", "5 MiBs", "0", "0.2", "1e9", "9" * 400])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="kv_memory"):
        parse_bytes("kv_memory", text)


@pytest.mark.parametrize(
    ("text", "share"), [("2%", 0.02), ("0.02", 0.02), (" 99.5 % ", 0.995), ("1", 1.0), (".5", 0.5)]
)
def test_shares(text: str, share: float) -> None:
    assert parse_share("attainment", text) == share


@pytest.mark.parametrize("of_1000", range(1001))
def test_a_percentage_is_the_share_of_as_many_requests(of_1000: int) -> None:
    assert parse_share("attainment", f"{of_1000 / 10}%") == of_1000 / 1000


@pytest.mark.parametrize("text", ["", "two", "-1%", "1e3", "5%%", "nan"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ConfigError, match="a share such as 2%"):
        parse_share("attainment", text)


def test_times_may_be_in_seconds_without_saying_so() -> None:
    assert parse_seconds("timeout", "0.2") == parse_seconds("timeout", "200ms") == 0.2
