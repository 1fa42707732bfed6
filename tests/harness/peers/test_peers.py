"""`llmbench peers`: what is not installed is left out and said; ours is measured anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import app
from llmbench.harness.peers.llama_cpp import parse_version
from llmbench.harness.peers.own import Own
from llmbench.harness.peers.session import Session, places, session
from llmbench.harness.peers.table import BEGIN, END
from llmbench.harness.peers.vllm_cpu import VllmCpu
from llmbench.harness.peers.workload import Figure
from typer.testing import CliRunner


def asked(directory: Path, **chosen: object) -> Session:
    settings: dict[str, object] = {
        "model": "bundled",
        "peers": (),
        "precisions": (),
        "weights": (),
        "rounds": 1,
        "seed": 0,
        "out": directory / "out",
        "lock": None,
    }
    where = places(directory, None, None, None)
    return session(where, **(settings | chosen))  # pyright: ignore[reportArgumentType]


def test_what_is_not_installed_is_listed_with_its_reason(tmp_path: Path) -> None:
    made = asked(tmp_path)
    assert set(made.unavailable) == {"llama.cpp", "vLLM"}
    assert "llama-server" in made.unavailable["llama.cpp"]
    assert {row.peer.name for row in made.rows} == {"llmbench", "transformers"}


def test_rows_are_those_asked_for(tmp_path: Path) -> None:
    programs = tmp_path / "llama.cpp" / "build" / "bin"
    programs.mkdir(parents=True)
    for name in ("llama-server", "llama-quantize"):
        (programs / name).touch()
    where = places(tmp_path, 1, tmp_path / "llama.cpp", None)
    common = {"model": "bundled", "rounds": 1, "seed": 0, "out": tmp_path, "lock": None}
    peers = ("llama.cpp",)
    default = session(where, peers=peers, precisions=(), weights=(), **common)
    assert [row.variant.weights for row in default.rows] == ["BF16", "Q8_0", "Q4_0"]
    named = session(where, peers=peers, precisions=("int4",), weights=("Q4_1",), **common)
    assert [row.variant.weights for row in named.rows] == ["Q4_1"]
    assert len(where.cores) == 1


@pytest.mark.parametrize("chosen", [{"peers": ("lama.cpp",)}, {"precisions": ("int3",)}])
def test_an_unknown_name_is_refused_with_the_nearest(
    tmp_path: Path, chosen: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        asked(tmp_path, **chosen)


def test_ours_has_a_row_for_each_precision_and_engine() -> None:
    rows = {(one.engine, one.precision, one.weights) for one in Own((0,)).variants()}
    assert rows == {
        (f"llmbench {engine}", precision, weights)
        for engine in ("paged", "inflight")
        for precision, weights in (
            ("bf16", "bfloat16"),
            ("int8", "w8a8"),
            ("int4", "awq"),
            ("int4", "awq+a8+w8a8-head"),
        )
    }


def test_nothing_to_measure_is_an_error_in_a_line(tmp_path: Path) -> None:
    arguments = ["--peer", "llama.cpp", "--model", "bundled", "--directory", str(tmp_path)]
    done = CliRunner().invoke(app.app, ["peers", *arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2, done.output
    assert "llama.cpp not measured: no llama-server" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("out", "document", "problem"),
    [
        ("file/out", "peers.md", "out: .* cannot be written"),
        ("out", "missing.md", "document: .* a text"),
        ("out", "file", "a text with <!-- measured: begin -->"),
    ],
)
def test_where_the_result_goes_is_checked_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, document: str, problem: str
) -> None:
    def measure(*_: object) -> None:
        pytest.fail("it was measured")

    monkeypatch.setattr("llmbench.harness.peers.session.measure", measure)
    (tmp_path / "file").write_text("no markers", encoding="utf-8")
    (tmp_path / "peers.md").write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    chosen = ["--peer", "llmbench", "--model", "bundled", "--directory", str(tmp_path)]
    where = ["--out", str(tmp_path / out), "--document", str(tmp_path / document)]
    with pytest.raises(ConfigError, match=problem):
        CliRunner().invoke(app.app, ["peers", *chosen, *where], catch_exceptions=False)


def test_ours_is_measured_and_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "peers.md"
    document.write_text("<!-- measured: begin -->\n<!-- measured: end -->\n", encoding="utf-8")
    chosen = ["--peer", "llmbench", "--precision", "bf16", "--model", "bundled", "--rounds", "1"]
    where = ["--directory", str(tmp_path), "--out", str(tmp_path / "out"), "--lock"]
    arguments = [*chosen, *where, str(tmp_path / "lock"), "--document", str(document)]
    monkeypatch.setattr("sys.argv", ["llmbench", "peers", "--out", "my results"])
    done = CliRunner().invoke(app.app, ["peers", *arguments])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out" / "peers.json").read_text(encoding="utf-8"))
    assert [row["variant"]["engine"] for row in result["rows"]] == [
        "llmbench paged",
        "llmbench inflight",
    ]
    # To be typed again.
    assert result["command"] == "llmbench peers --out 'my results'"
    for row in result["rows"]:
        assert set(row["figures"]) == {str(figure) for figure in Figure}
        assert all(spread["best"] >= spread["median"] > 0 for spread in row["figures"].values())
    assert "| bf16 | llmbench paged | bfloat16 |" in document.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("version: 0.6.0-dev (build 11434, commit unknown)\nbuilt with GNU", "b11434"),
        ("version: 4589 (eb7cf15a)", "b4589"),
        ("nothing", "unknown"),
    ],
)
def test_the_build_number_is_read_from_what_llama_cpp_prints(text: str, version: str) -> None:
    assert parse_version(text) == version


def test_vllm_serves_all_three_precisions_where_it_is_installed(tmp_path: Path) -> None:
    environment = tmp_path / "vllm"
    (environment / "lib" / "python3.11" / "site-packages" / "vllm").mkdir(parents=True)
    (environment / "bin").mkdir()
    (environment / "bin" / "python").touch()
    peer = VllmCpu(environment / "bin" / "python", (0,))
    assert peer.missing() is None
    assert [variant.precision for variant in peer.variants()] == ["bf16", "int8", "int4"]


def test_a_python_without_vllm_is_not_vllm(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert VllmCpu(tmp_path / "bin" / "python", (0,)).missing() == "the Python given has no vLLM"


def test_more_cores_than_there_are_are_refused(tmp_path: Path) -> None:
    """Known wrong here: two were taken for 99999, and nobody was told."""
    with pytest.raises(ConfigError, match=r"^threads: 99999 is not allowed; expected 1 to "):
        places(tmp_path, 99999, None, None)
