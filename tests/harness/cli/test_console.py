"""Text from outside on a terminal: paths with brackets, names with escape sequences."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from llmbench.harness.cli.app import main
from llmbench.harness.cli.console import TerminalConsole, foreign, printable
from llmbench.harness.cli.exits import say_error, say_text
from llmbench.harness.cli.progress import watching
from llmbench.harness.cli.tables import print_run
from llmbench.harness.cli.workload_tables import print_prompts
from llmbench.workloads.api import PlannedRequest
from rich.table import Table

from ..observed import serve_in_turn
from ..stored import stored_run

CLI = Path(__file__).resolve().parents[3] / "harness" / "cli"
# Clears the screen, sets the window's title, turns the text around, is half of a pair.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202etxt\udc80[/bold][red]x:bomb:"
SPELT = r"\x1b[2J\x1b]0;owned\x07\x9b31m\u202etxt\udc80[/bold][red]x:bomb:"
NAMES = ("a[b]", "[red]x", "[/]")


def _main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def _terminal() -> tuple[TerminalConsole, io.StringIO]:
    written = io.StringIO()
    return TerminalConsole(file=written, force_terminal=True, width=200), written


def test_foreign_text_is_text() -> None:
    console, written = _terminal()
    console.print(f"[bold]{foreign(HOSTILE)}[/]", end="")
    assert written.getvalue() == f"\x1b[1m{SPELT}\x1b[0m"
    assert printable("µ✓\u202f\u200d a\tb\n") == "µ✓\u202f\u200d a\\tb\\n"
    for name in NAMES:
        console, written = _terminal()
        console.print(foreign(name), end="")
        assert written.getvalue() == name


def test_no_control_character_gets_past_the_console_even_unmarked() -> None:
    """What was not asked to be spelt: a cell of a table, a line, a text of two lines."""
    console, written = _terminal()
    table = Table("name", box=None)
    table.add_row("\x1b]0;owned\x9c")
    console.print(table)
    console.print("one\x1b[2J\ntwo", markup=False)
    text = written.getvalue()
    assert r"\x1b]0;" in text
    assert "one\\x1b[2J\ntwo" in text
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text


def test_progress_and_errors_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(quiet=False) as watch:
        watch.stage(f"loading {HOSTILE}")
    say_text(f"written to {HOSTILE}")
    say_error(f"model: {HOSTILE}")
    lines = capsys.readouterr().err.splitlines()
    assert "".join(lines) == f"loading {SPELT}written to {SPELT}error: model: {SPELT}"


def test_a_hostile_model_and_prompt_are_spelt(capsys: pytest.CaptureFixture[str]) -> None:
    requests, steps = serve_in_turn(20)
    stored = stored_run(requests, steps, label=HOSTILE, config={"model": HOSTILE})
    config = {**stored.result.config, "dtype": "float32", "device": "cpu"}
    print_run(stored.result.model_copy(update={"config": config}))
    prompt = cast("PlannedRequest", SimpleNamespace(index=0, prompt_token_ids=[1], output_tokens=2,
                                                    after=None))  # fmt: skip
    print_prompts([prompt], lambda _ids, **_: HOSTILE)
    said = capsys.readouterr().out
    assert said.count(SPELT) == 3
    assert not {char for char in said if printable(char) != char} - {"\n"}


@pytest.mark.parametrize("name", NAMES)
def test_paths_with_brackets_are_said_as_they_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path(name) / name if name != "[/]" else Path("[") / "]"
    simulate = ("simulate", "--num-requests", "20")
    said: list[str] = []

    def run(*arguments: str) -> None:
        assert _main(*arguments) in (0, 3)
        told = capsys.readouterr()
        said.append(told.err.replace("\n", ""))

    run(*simulate, "--out", str(out), "--quiet")
    assert str(out / "report.html") in said[-1]
    run("report", str(out))
    assert str(out / "report.html") in said[-1]
    run("export", str(out), "--format", "csv", "--out", f"{name.replace('/', '_')}.csv")
    run("workload", "fit", str(out), "--out", str(out.parent / "fit.yaml"))
    assert str(out.parent / "fit.yaml") in said[-1]
    assert _main("report", str(out / "missing")) == 2
    assert str(out / "missing") in capsys.readouterr().err.replace("\n", "")


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _is_foreign(value: ast.expr) -> bool:
    """A call that spells or makes text of ours, or what is formatted as a number."""
    return isinstance(value, ast.Call | ast.Constant | ast.IfExp)


def test_every_command_prints_through_this_console() -> None:
    """And no path goes into markup as it is: the names that paths have here."""
    paths = {"out", "path", "directory", "plot", "install", "figures"}
    wrong: list[str] = []
    for file in sorted(CLI.glob("*.py")):
        if file.name == "console.py":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        text = ast.unparse(tree)
        assert "rich.console import Console" not in text, file.name
        assert "rich.markup" not in text, file.name
        for call in _calls(tree):
            if ast.unparse(call.func) not in ("say", "console.print") or not call.args:
                continue
            for part in ast.walk(call.args[0]):
                if not isinstance(part, ast.FormattedValue) or _is_foreign(part.value):
                    continue
                words = {one.id for one in ast.walk(part.value) if isinstance(one, ast.Name)}
                wrong += [f"{file.name}:{call.lineno}"] * bool(words & paths)
    assert wrong == []


def _printed(stream: io.StringIO, columns: str | None, monkeypatch: pytest.MonkeyPatch) -> str:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    console = TerminalConsole(file=stream)
    table = Table(*(f"heading{at}" for at in range(30)), box=None, pad_edge=False)
    table.add_row(*("x" * 12 for _ in range(30)))
    console.print(table)
    console.print("word " * 60)
    return stream.getvalue()


@pytest.mark.parametrize("columns", [None, "wide"])
def test_nothing_is_cut_or_broken_where_nobody_says_how_wide(
    columns: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _printed(io.StringIO(), columns, monkeypatch)
    assert len(text.splitlines()) == 3
    assert "…" not in text


def test_columns_are_kept_to_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _printed(io.StringIO(), "72", monkeypatch).splitlines()
    assert max(map(len, lines)) <= 72
    assert len(lines) > 3


def test_a_command_that_is_echoed_can_be_copied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where COLUMNS is set: a line that is broken is two commands."""
    command = "llmbench run " + "--engine paged --quant awq " * 8
    monkeypatch.setenv("COLUMNS", "80")
    with watching(quiet=False) as watch:
        watch.stage(command)
    say_text(command)
    assert [line.strip() for line in capsys.readouterr().err.splitlines()] == [command.strip()] * 2


def test_what_commands_share_has_one_definition() -> None:
    found = [file.name for file in sorted(CLI.glob("*.py")) if "\nAsJson = " in file.read_text()]
    assert found == ["output.py"]
