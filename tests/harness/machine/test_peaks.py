"""Whose peaks a run is held against: a datasheet's, a measurement's, or nobody's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import app, main
from llmbench.harness.machine.kept_peaks import (
    MachinePeaks,
    keep_peaks,
    machine_of,
    measure_peaks,
    peaks_path,
    read_peaks,
)
from llmbench.harness.machine.peaks import peaks_of_device
from llmbench.harness.machine.rates import datasheet_of
from llmbench.harness.result import Peaks
from llmbench.kernels import rates
from typer.testing import CliRunner

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path))


def mine(bytes_per_s: float = 30e9, **flops_per_s: float) -> MachinePeaks:
    rates = flops_per_s or {"bf16": 4e11, "fp32": 1e11}
    return MachinePeaks(*machine_of(CPU), bytes_per_s, rates, "2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA L40S", "l40s"),
        ("AMD Instinct MI300X", "mi300x"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA A100-SXM4-40GB", None),
        ("NVIDIA A100 80GB PCIe", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_a_card_is_known_by_its_drivers_name(name: str, row: str | None) -> None:
    found = datasheet_of(name)
    assert (found and found.name) == row


def test_a_known_gpus_peaks_are_its_datasheets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=None: "NVIDIA H100 80GB HBM3")
    found = peaks_of_device(CUDA, "bf16")
    assert isinstance(found, Peaks)
    assert (found.bytes_per_s, found.flops_per_s) == (3.35e12, 989.5e12)
    assert "h100" in found.source


def test_an_unknown_gpus_peaks_are_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=None: "NVIDIA H100 PCIe")
    why = peaks_of_device(CUDA, "bf16")
    assert isinstance(why, str)
    assert "llmbench machine" in why


def test_a_cpus_are_what_was_measured_with_as_many_threads() -> None:
    threads = torch.get_num_threads()
    command = f"llmbench machine --threads {threads} measures them"
    assert peaks_of_device(CPU, "bf16") == f"the peaks of this machine are not known: {command}"
    for others, said in ((4096, "4096"), (2048, "2048 and 4096")):
        keep_peaks(peaks_path(), replace(mine(), threads=others))
        assert peaks_of_device(CPU, "bf16") == (
            f"the peaks of this machine are not known for {threads} "
            f"thread{'s' if threads > 1 else ''}, only for {said}: {command}"
        )
    keep_peaks(peaks_path(), mine())
    found = peaks_of_device(CPU, "bf16")
    assert isinstance(found, Peaks)
    assert (found.bytes_per_s, found.flops_per_s, found.dtype) == (30e9, 4e11, "bf16")
    assert peaks_of_device(CPU, "fp8") == "the peak of this machine in fp8 is not known"


@pytest.mark.parametrize(
    ("text", "said"), [('{"schema_version": 9}', "schema_version"), ("[" * 100_000, "recursion")]
)
def test_a_broken_file_is_a_reason_for_a_run_and_an_error_for_who_measures(
    text: str, said: str
) -> None:
    peaks_path().write_text(text)
    assert "llmbench machine" in str(peaks_of_device(CPU, "bf16"))
    with pytest.raises(ConfigError, match=said):
        keep_peaks(peaks_path(), mine())


def test_the_best_of_all_measurements_is_kept_unless_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "peaks.json"
    keep_peaks(path, mine(30e9, bf16=3e11))
    assert keep_peaks(path, mine(20e9, bf16=4e11)) == mine(30e9, bf16=4e11)
    assert read_peaks(path) == (mine(30e9, bf16=4e11),)
    other = replace(mine(10e9), device="another")
    assert keep_peaks(path, other) == other
    keep_peaks(path, mine(25e9, bf16=1e11), forget=True)
    assert read_peaks(path) == (other, mine(25e9, bf16=1e11))


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.FAR_BYTES, "cpu", 2**20)
    monkeypatch.setitem(rates.PRODUCT_EDGE, "cpu", 64)


def test_this_machine_is_measured_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    done = CliRunner().invoke(app.app, ["machine", "--rounds", "2", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    (kept,) = read_peaks(peaks_path())
    assert kept.bytes_per_s > 0
    assert set(kept.flops_per_s) == {"bf16", "fp32", "int8", "w4a8"}
    assert f"{kept.bytes_per_s / 1e9:.1f} GB/s" in done.output
    assert measure_peaks(CPU, "now").machine == kept.machine


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--threads", "100000"]])
def test_a_setting_that_cannot_work_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["machine", *arguments])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
