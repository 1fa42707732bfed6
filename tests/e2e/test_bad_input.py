"""What a user can get wrong: one line that names the field, the value and what is allowed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from llmbench.engines.models.bundled import model_directory

from .conftest import Run

TRACE_HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def test_another_process_says_it_on_standard_error_and_leaves_with_2(
    llmbench: Run, tmp_path: Path
) -> None:
    """Once as a user has it; all that follows is said by the same function, in this process."""
    assert_one_line(llmbench("run", "--block-size", "0"), "block_size: 0", "at least 1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--engine", "pagd"), ("engine: 'pagd'", "did you mean 'paged'?")),
        (("--quant", "awk"), ("quant: 'awk'", "none", "did you mean 'awq'?")),
        (("--model", "bundeld"), ("model: 'bundeld'", "did you mean 'bundled'?")),
        (("--workload", "azure-cov"), ("workload: 'azure-cov'", "did you mean 'azure-conv'?")),
        (("--batching", "mixd"), ("batching: 'mixd'", "did you mean 'mixed'?")),
        (("--admission", "greedy"), ("admission: 'greedy'", "optimistic, reserve")),
        (("--kv", "page"), ("kv: 'page'", "did you mean 'paged'?")),
        (("--dtype", "float8"), ("dtype: 'float8'", "float16")),
        (("--device", "tpu"), ("device: 'tpu'", "cpu, cuda")),
        (("--block-size", "0"), ("block_size: 0", "at least 1")),
        (("--max-num-seqs", "-1"), ("max_num_seqs: -1", "at least 1")),
        (("--kv-memory", "lots"), ("kv_memory: 'lots'", "512MiB")),
        (("--kv-memory", "1KiB"), ("kv_memory: '1024 bytes", "--max-model-len")),
        (
            (
                *("--block-size", "1000", "--max-model-len", "256", "--kv-memory", "800KiB"),
                *("--dtype", "bfloat16"),
            ),
            ("kv_memory: '819200 bytes (266 tokens)'", "whole blocks"),
        ),
        (("--kv-memory", "900000GiB"), ("kv_memory: ", "at most the")),
        (("--threads", "100000"), ("threads: 100000", "cores")),
        (("--scheduler-delay-factor", "-1"), ("delay_factor: -1.0", "0 or more")),
        (("--num-requests", "many"), ("num_requests: 'many'", "expected a whole number")),
        (("--max-model-len", "99999"), ("max_model_len: 99999", "at most the model's")),
        (("--max-num-batched-tokens", "8"), ("max_num_batched_tokens: 8", "max_num_seqs")),
        (("--num-requests", "0"), ("num_requests",)),
        (("--request-rate", "-2"), ("request_rate: -2.0", "above 0")),
        (("--max-concurrency", "0"), ("max_concurrency",)),
        (("--time-scale", "2"), ("time_scale: 2.0", "trace")),
        (("--arrival", "poison"), ("arrival: 'poison'", "did you mean 'poisson'?")),
        (("--slo", "tftt:100ms"), ("slo: 'tftt'", "did you mean 'ttft'?")),
        (("--slo", "ttft:soon"), ("slo: 'soon'", "200ms")),
        (("--seed", "-1"), ("seed: -1",)),
        (("--trace", "absent.csv"), ("trace: 'absent.csv'", "no such file")),
        (("--corpus", "absent.txt"), ("corpus: 'absent.txt'", "readable")),
        (("--quant", "awq", "--group-size", "7"), ("group_size: 7",)),
    ],
)
def test_one_line_and_exit_code_2(llmbench_here: Run, arguments, words, tmp_path: Path) -> None:
    done = llmbench_here("run", *arguments)
    assert_one_line(done, *words)
    assert list(tmp_path.iterdir()) == [], "nothing half-written"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,5\n", ("GeneratedTokens",)),
        (TRACE_HEAD + "2023-11-16 18:15:46,-5,3\n", ("-5",)),
        (TRACE_HEAD + "2023-11-16 18:15:46,5,many\n", ("many",)),
        (TRACE_HEAD + "2023-11-16 18:15:46,5,3\n2023-11-16 18:15:45,5,3\n", ("line 3", "earlier")),
        (TRACE_HEAD, ("no rows",)),
        ("", ("empty",)),
    ],
)
def test_traces(llmbench_here: Run, tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / "trace.csv").write_text(text)
    assert_one_line(llmbench_here("run", "--trace", "trace.csv"), "trace", *words)


def test_a_prompt_longer_than_the_model(llmbench_here: Run, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text(TRACE_HEAD + "2023-11-16 18:15:46,9000,3\n")
    done = llmbench_here("run", "--trace", "trace.csv")
    assert_one_line(done, "9000", "--max-input-len")


def test_an_output_directory_that_cannot_be_written(llmbench_here: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    assert_one_line(llmbench_here("run", "--out", "taken"), "out:", "is a file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("precious")
    assert_one_line(llmbench_here("run", "--out", "full"), "out:", "thesis.tex")
    assert (tmp_path / "full" / "thesis.tex").read_text() == "precious"


@pytest.fixture
def broken_model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    shutil.copytree(model_directory(), directory, ignore=shutil.ignore_patterns("*.py", "*.txt"))
    return directory


def test_truncated_weights(llmbench_here: Run, broken_model: Path) -> None:
    weights = broken_model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert_one_line(llmbench_here("run", "--model", "model"), "model.safetensors", "not a whole")


def test_an_unsupported_model_is_refused_before_its_weights(
    llmbench_here: Run, broken_model: Path
) -> None:
    (broken_model / "model.safetensors").unlink()
    config = json.loads((broken_model / "config.json").read_text())
    config["architectures"] = ["MambaForCausalLM"]
    (broken_model / "config.json").write_text(json.dumps(config))
    assert_one_line(
        llmbench_here("run", "--model", "model"), "MambaForCausalLM", "LlamaForCausalLM"
    )


def assert_one_line(done, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0]
