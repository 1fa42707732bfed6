from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from llmbench.engines.cost.hardware import known_hardware, resolve_hardware
from llmbench.engines.errors import ConfigError

MINE = {
    "peak_tflops": {"bf16": 100},
    "memory_gib": 16,
    "memory_gb_per_s": 500,
    "step_overhead_ms": 0.1,
    "sources": {"all": "made up"},
}


def write(path: Path, row: dict, name: str = "mine") -> Path:
    path.write_text(yaml.safe_dump({name: row}))
    return path


def test_the_devices_of_the_design_are_there() -> None:
    named = {"a100", "h100", "h200", "b200", "mi300x", "trainium2", "l40s", "cpu"}
    assert named <= set(known_hardware())


@pytest.mark.parametrize(
    ("name", "dtype", "dense_tflops"),
    [
        # Datasheets print these twice as large, with sparsity.
        ("a100", "bf16", 312),
        ("h100", "bf16", 1979 / 2),
        ("h100", "fp8", 3958 / 2),
        ("h200", "int8", 3958 / 2),
        ("b200", "fp8", 72_000 / 8 / 2),
        ("b200", "fp4", 144_000 / 8 / 2),
        ("l40s", "fp8", 1466 / 2),
        ("mi300x", "fp8", 5229.8 / 2),
        ("trainium2", "bf16", 667),
    ],
)
def test_rates_are_dense(name: str, dtype: str, dense_tflops: float) -> None:
    assert resolve_hardware(name).peak_flops(dtype) == pytest.approx(dense_tflops * 1e12)


@pytest.mark.parametrize("name", sorted(known_hardware()))
def test_every_figure_has_its_source(name: str) -> None:
    hardware = resolve_hardware(name)
    links = [field for field in ("link", "internode_link", "host_link") if getattr(hardware, field)]
    assert {"peak_tflops", "memory", "step_overhead_ms", *links} == set(hardware.sources)


def test_a_link_counts_one_direction() -> None:
    """NVLink's 900 GB/s on an H100 is both ways together."""
    assert resolve_hardware("h100").required_link("link").bytes_per_s == 450e9


def test_a_users_file_works_by_path(tmp_path: Path) -> None:
    hardware = resolve_hardware(write(tmp_path / "mine.yaml", MINE))
    assert (hardware.name, hardware.peak_flops("bf16")) == ("mine", 100e12)
    assert hardware.memory_bytes == 16 * 2**30


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'h100'") as caught:
        resolve_hardware("h10")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["peak_tflops", "memory_gib", "memory_gb_per_s", "sources"])
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    row = {name: value for name, value in MINE.items() if name != field}
    with pytest.raises(ConfigError, match=rf"hardware\.mine\.{field}") as caught:
        resolve_hardware(write(tmp_path / "mine.yaml", row))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"memory_gib": -1}, r"hardware\.mine\.memory_gib"),
        ({"memory_gbps": 1}, "did you mean 'memory_gib'|did you mean 'memory_gb_per_s'"),
        ({"peak_tflops": {"bf8": 1}}, r"hardware\.mine\.peak_tflops: 'bf8'"),
        ({"link": {"gb_per_s": 100}}, r"hardware\.mine\.link\.latency_us"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        resolve_hardware(write(tmp_path / "mine.yaml", MINE | change))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_description(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(ConfigError, match="readable file"):
        resolve_hardware(path)
    path.write_text("[1, 2")
    with pytest.raises(ConfigError, match="YAML file"):
        resolve_hardware(path)
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="maps a name"):
        resolve_hardware(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mine: {memory_gib: 16,\n memory_gib: 80}", "memory_gib twice, at line 1 and at line 2"),
        ("mine: {sources: {all: 2026-13-01}}", "month must be in 1..12"),
        ("[" * 2000, "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_meant(tmp_path: Path, text: str, said: str) -> None:
    """Known wrong here: the first of two figures was lost in silence."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve_hardware(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dtype_that_is_not_computed() -> None:
    with pytest.raises(ConfigError, match=r"dtype: 'fp8' .* a100 computes"):
        resolve_hardware("a100").peak_flops("fp8")


def test_a_link_that_is_absent() -> None:
    with pytest.raises(ConfigError, match=r"hardware\.host_link"):
        resolve_hardware("trainium2").required_link("host_link")
