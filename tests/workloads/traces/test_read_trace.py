"""Which format a file is in, and what is said when it is in none."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.traces import read_trace

SUPPORTED = (
    "expected Azure LLM inference CSV (TIMESTAMP, ContextTokens, GeneratedTokens), "
    "BurstGPT CSV (Timestamp, Request tokens, Response tokens), "
    "Mooncake JSON lines (timestamp, input_length, output_length, hash_ids), "
    "ServeGen offline JSON lines (request_id, input_length, output_length, duration), "
    "llmbench JSON lines (t_due_s, input_tokens, output_tokens), "
    "llmbench CSV (t_due_s, input_tokens, output_tokens), "
    "or the directory of a stored run"
)


def failure(path: Path) -> str:
    with pytest.raises(WorkloadError) as caught:
        read_trace(path)
    assert caught.value.field == "trace"
    line = str(caught.value)
    assert "\n" not in line
    return line.replace(str(path), path.name)


def test_a_missing_column_is_named(azure_csv: Callable[..., Path]) -> None:
    path = azure_csv("2023-11-16 18:00:00.0,5", header="TIMESTAMP,GeneratedTokens")
    assert failure(path) == f"trace: 'x.csv' has no column ContextTokens; {SUPPORTED}"


def test_another_format_is_not_guessed_at(azure_csv: Callable[..., Path]) -> None:
    path = azure_csv('{"time": 1}', header='{"time": 0, "prompt": 6758}')
    found = """'{"time": 0, "prompt": 6758}'"""
    said = f"trace: 'x.csv' has no header of a known format but {found}; {SUPPORTED}"
    assert failure(path) == said


def test_a_missing_field_is_named(azure_csv: Callable[..., Path]) -> None:
    path = azure_csv(header='{"timestamp": 0, "input_length": 6758, "hash_ids": []}')
    assert failure(path) == f"trace: 'x.csv' has no field output_length; {SUPPORTED}"


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.touch()
    assert failure(path) == f"trace: 'x.csv' is empty; {SUPPORTED}"
    path.write_text("\nt_due_s,input_tokens,output_tokens\n0,1,1\n")
    assert failure(path) == f"trace: 'x.csv' begins with a blank line; {SUPPORTED}"


def test_a_missing_file(tmp_path: Path) -> None:
    assert failure(tmp_path / "x.csv") == (
        "trace: 'x.csv' cannot be read: no such file or directory; expected a trace file"
    )


def test_a_folder(tmp_path: Path) -> None:
    assert "cannot be read: is a directory" in failure(tmp_path)


def test_a_folder_of_servegens_says_how_it_becomes_a_workload(tmp_path: Path) -> None:
    (tmp_path / "clients_summary.csv").touch()
    said = f"expected what 'llmbench workload fit {tmp_path.name} --category CATEGORY' writes"
    assert said in failure(tmp_path)


CHUNK = "chunk-1-trace.csv"
MODEL = "data/language/m"


@pytest.mark.parametrize("given", [".", "data", "data/language", MODEL, f"{MODEL}/{CHUNK}"])
def test_chunks_of_servegens_are_no_requests_and_how_they_become_some_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """The repository's own layout, whichever folder of it is named, or a chunk itself."""
    monkeypatch.chdir(tmp_path)
    path = Path(given)
    Path(MODEL).mkdir(parents=True)
    (Path(MODEL) / CHUNK).write_text("0,0,0,,0,0\n")
    folder = path.parent if given.endswith(CHUNK) else path
    with pytest.raises(WorkloadError) as caught:
        read_trace(path)
    assert str(caught.value) == (
        f"trace: '{path}' holds ServeGen's clients, and no requests; expected what 'llmbench "
        f"workload fit {folder} --category CATEGORY' writes, as --workload"
    )


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\x80\x81\x82\n")
    assert failure(path) == f"trace: 'x.csv' is not UTF-8 text; {SUPPORTED}"
    packed = tmp_path / "x.csv.gz"
    packed.write_bytes(gzip.compress(b"t_due_s,input_tokens,output_tokens\n0,1,1\n"))
    assert "'x.csv.gz' is compressed: unpack it first; " in failure(packed)


def test_a_quoted_header_is_one(azure_csv: Callable[..., Path]) -> None:
    """As R's write.csv writes it."""
    header = '"TIMESTAMP","ContextTokens","GeneratedTokens"'
    rows = read_trace(azure_csv('"2023-11-16 18:00:00.0","5","6"', header=header))
    assert (rows[0].input_tokens, rows[0].output_tokens) == (5, 6)


def test_spaces_and_a_byte_order_mark_in_the_header_do_no_harm(
    azure_csv: Callable[..., Path],
) -> None:
    header = "\ufeffTIMESTAMP, ContextTokens , GeneratedTokens"
    rows = read_trace(azure_csv("2023-11-16 18:00:00.0, 5, 6", header=header))
    assert (rows[0].input_tokens, rows[0].output_tokens) == (5, 6)
