"""The outputs in docs/schedules.md are what the program prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.schedule import parse_scenario, schedule, shipped
from llmbench.harness.schedule.read import parse_json

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "schedules.md").read_text()
SHOWN = re.findall(r"```sh\nllmbench (.*?)\n```\n\n```text\n(.*?)```", DOCUMENT, flags=re.DOTALL)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.DOTALL)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_outputs_are_the_programs_own(
    command: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(shlex.split(command))
    assert left.value.code == 0
    assert capsys.readouterr().out == output


def test_there_are_outputs_to_hold() -> None:
    assert len(SHOWN) == len(blocks("text")) == 2


def test_the_scenario_shown_is_one() -> None:
    (text,) = blocks("json")
    assert schedule(parse_scenario(parse_json(text, "docs"))).requests


def test_the_python_shown_runs() -> None:
    (code,) = blocks("python")
    exec(code, {})


def test_every_scenario_that_ships_is_listed() -> None:
    assert set(re.findall(r"^\| `([\w-]+)` \|", DOCUMENT, flags=re.MULTILINE)) == set(shipped())
