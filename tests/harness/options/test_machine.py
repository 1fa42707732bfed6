"""The options of a machine: of hardware, or of step times that were measured in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.cost.calibrated import calibration_text
from llmbench.engines.cost.fit import fit_calibration
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import main
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.options.machine import machine_of
from llmbench.harness.options.words import simulated_settings
from llmbench.harness.simulation.simulate import prepare_simulation, settings_of
from llmbench.harness.simulation.simulated_machine import Machine

from ...engines.cost.test_calibrated import measure as measured_steps

# Each as it is by default, which changes nothing, and is refused all the same.
BESIDE = {
    "hardware": "h100",
    "tensor_parallel": 1,
    "free_memory_fraction": 0.9,
    "prefill_efficiency": 0.2,
    "decode_efficiency": 0.2,
}


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "cal.json"
    settings = {"dtype": "float32", "quant": "none", "kv": "paged", "kv_dtype": "auto"}
    steps = measured_steps(300, seed=1)
    made = fit_calibration(steps, model="bundled", machine="a machine", settings=settings)
    path.write_text(calibration_text(made))
    return path


def test_a_machine_is_an_h100_unless_told_otherwise() -> None:
    assert machine_of() == Machine()
    told = machine_of(hardware="a100", tensor_parallel=4, decode_efficiency=0.5)
    assert (told.hardware, told.devices, told.efficiency.decode) == ("a100", 4, 0.5)
    assert told.efficiency.prefill == Machine().efficiency.prefill


@pytest.mark.parametrize("name", BESIDE)
def test_a_calibration_is_beside_no_other_option_of_a_machine(calibration: Path, name: str) -> None:
    """Known wrong here: `--hardware nonsense` beside one was passed over, and four devices were
    stored of steps that one had made."""
    given: dict[str, Any] = {"calibration": calibration, name: BESIDE[name]}
    with pytest.raises(ConfigError, match=rf"^{name}: .* expected unset: --calibration stands in"):
        machine_of(**given)
    words = [f"--calibration={calibration}", f"--{name.replace('_', '-')}={BESIDE[name]}"]
    with pytest.raises(ConfigError, match=rf"^{name}: "):
        simulated_settings(words, "base")


@pytest.mark.parametrize(
    "command",
    [
        ("simulate", "--out", "out"),
        ("simulate", "--out", "out", "--repeats", "2"),
        ("capacity", "--slo", "ttft:2s"),
        ("ablate", "--axes", "kv"),
        ("sweep", "--out", "out", "--vary", "hardware=a100,h100", "--", "simulate"),
    ],
)
def test_every_command_that_simulates_says_so_in_one_line(
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    hardware = () if command[0] == "sweep" else ("--hardware", "a100")
    with pytest.raises(SystemExit) as left:
        main([*command, "--model", "bundled", "--calibration", str(calibration), *hardware])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "hardware: 'a100' is not allowed; expected unset: --calibration" in line
    assert list(tmp_path.iterdir()) == [calibration]


def test_settings_of_a_calibration_hold_nothing_that_decides_nothing(calibration: Path) -> None:
    config = RunConfig("bundled", engine_config("paged"), LoadConfig(num_requests=2))
    stored = settings_of(prepare_simulation(config, machine_of(calibration=calibration)))
    machine = stored["machine"]
    assert (machine["free_memory_fraction"], machine["efficiency"]) == (None, None)
    assert (machine["hardware"], stored["tensor_parallel"]) == (None, 1)
