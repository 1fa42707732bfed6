"""`--figures`: which commands draw the charts of their report, and what is then on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import app
from llmbench.harness.cli.figures import draw
from llmbench.reports.model import Axis, Badge, Chart, Panel, Report, Section, Series
from llmbench.reports.palette import RUN_ROLES
from typer.main import get_command
from typer.testing import CliRunner


def chart(name: str) -> Chart:
    line = Series("a", RUN_ROLES[0], "line", (1.0, 2.0), (3.0, 4.0))
    return Chart(name, name, "", Axis("x", "s"), (Panel(Axis("y", "s"), (line,)),))


def test_each_chart_of_a_report_is_a_picture_of_both_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(
        *("Title", "", Badge("Fine", "", "good"), "So.", (), (), ()),
        (Section("one", "One", (chart("second"),)),),
        "",
        overview=(chart("first"),),
    )
    draw(report, tmp_path / "figures")
    found = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert found == ["first.png", "first.svg", "second.png", "second.svg"]
    assert (tmp_path / "figures" / "first.png").read_bytes().startswith(b"\x89PNG")
    assert "4 files in" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["ab", "compare", "run", "ablate", "sweep", "history", "claims", "report"]
)
def test_every_command_with_charts_in_its_report_draws_them(name: str) -> None:
    command = get_command(app.app).commands[name]  # pyright: ignore[reportAttributeAccessIssue]
    assert "figures" in {one.name for one in command.params}


def test_of_one_run_report_draws_them() -> None:
    wanted = (
        "^figures: 'f' is not allowed; expected only with several methods; of one run: llmbench"
    )
    with pytest.raises(ConfigError, match=wanted):
        CliRunner().invoke(app.app, ["run", "--figures", "f"], catch_exceptions=False)
