"""What the help looks like on a terminal of 80 columns."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from itertools import pairwise

import pytest
from llmbench.engines.config import engine_config
from llmbench.harness.cli import main
from llmbench.harness.cli.output import directory_name


def helped(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    return re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")


@pytest.mark.parametrize("command", ["machine", "gate", "history", "mock-server", "ab"])
def test_a_paragraph_has_no_line_that_is_short_for_no_reason(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line is broken only where the next word would not fit."""
    text = helped(capsys, command).partition("╭")[0]
    lines = [line.strip() for line in text.splitlines()]
    for line, following in pairwise(lines):
        if line and following and not line.startswith("Usage"):
            assert len(line) + 1 + len(following.split()[0]) > 72, line


@pytest.mark.parametrize("command", ["compare", "report", "gate"])
def test_repeated_runs_are_among_the_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = helped(capsys, command).partition("Examples")[2]
    assert "'run --repeats 5'" in " ".join(examples.split())


def test_https_is_among_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "mock-server"):
        examples = helped(capsys, command).rpartition("Examples")[2]
        assert "https://" in examples


def in_words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_the_help_of_a_rate_says_which_arrivals_stay(capsys: pytest.CaptureFixture[str]) -> None:
    """Known wrong here: "Poisson", of every workload."""
    said = "Gamma and constant arrivals and clients keep their kind, others become Poisson."
    assert said in in_words(helped(capsys, "run"))


def test_the_help_of_capacity_is_of_a_search_for_a_rate(capsys: pytest.CaptureFixture[str]) -> None:
    """It has no rate to be alone or beside."""
    text = in_words(helped(capsys, "capacity"))
    assert "--request-rate" not in text
    assert "A cap in front of the engine, at every rate that is tried." in text
    assert "Alone: a closed loop" not in text
    assert "Alone: a closed loop" in in_words(helped(capsys, "simulate"))


def test_a_default_directory_says_what_was_asked_of_the_head() -> None:
    assert directory_name(engine_config("paged", quant="auto+int8-head")) == "paged-auto+int8-head"
    assert directory_name(engine_config("paged", quant="awq")) == "paged-awq"


def test_the_version_is_the_installed_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"llmbench {metadata.version('llmbench')}\n"


@pytest.mark.parametrize("command", ["run", "simulate", "ablate", "serve"])
def test_every_option_is_named_whole(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Known wrong here: `--max-num-batched-t…` and nine more of `run`."""
    cut = [word for word in helped(capsys, command).split() if re.fullmatch("--?[a-z-]+…", word)]
    assert not cut


def test_an_option_is_found_by_its_name_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("COLUMNS", "TERMINAL_WIDTH"):
        monkeypatch.delenv(variable)
    asked = [sys.executable, "-c", "from llmbench.harness.cli import main; main()", "run", "--help"]
    said = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout
    for name in ("--max-num-batched-tokens", "--no-enable-chunked-prefill"):
        assert f"{name} " in said.decode()


@pytest.mark.parametrize("group", ["workload", "kernels"])
def test_a_group_without_a_command_shows_its_help_and_no_error(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: "error: (see --help)" below the help."""
    with pytest.raises(SystemExit) as left:
        main([group])
    said = capsys.readouterr()
    assert left.value.code == 2
    assert "Usage" in said.out + said.err
    assert "error" not in said.err
