"""Who computes the model: chosen on the command line, said in the result."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.storage.store import load_run

SHORT = ("--num-requests", "2", "--max-output-len", "4", "--out")


def test_a_run_through_transformers_says_so_and_which_kernels_of_ours_ran(tmp_path: Path) -> None:
    asked = ("--model-impl", "transformers", "--kv-dtype", "int8", "--quality-tokens", "64")
    with pytest.raises(SystemExit):
        main(["run", *asked, "--threads", "1", *SHORT, str(tmp_path / "run")])
    result = load_run(tmp_path / "run").result
    assert result.config["model_impl"] == "transformers"
    assert result.label == "paged (transformers) + int8 KV"
    of_the_cache = {"quantized_cache_write", "quantized_paged_attention"}
    assert set(result.kernels) == of_the_cache | {"argmax", "sample"}
    quality = result.quality
    assert quality is not None
    assert quality.kl_mean is not None
    assert 0 < quality.kl_mean < 1e-2


def test_a_simulation_has_no_say_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["simulate", "--model-impl", "transformers"])
    assert left.value.code == 2
    assert "No such option: --model-impl" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["simulate", *SHORT, str(tmp_path / "simulated")])
    assert load_run(tmp_path / "simulated").result.config["model_impl"] == "native"
