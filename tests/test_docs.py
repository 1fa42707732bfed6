"""What the documents tell people to type must exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(document: Path) -> Iterator[str]:
    """Lines of shell blocks, with continuations joined and comments dropped."""
    text = document.read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.removeprefix("$ ").strip()


def typed(program: str) -> list:
    """A test parameter a command, labelled with where it stands."""
    return [
        pytest.param(line, id=f"{document.name}: {line}")
        for document in DOCUMENTS
        for line in commands(document)
        if line.split(" ")[0].removeprefix(".venv/bin/") == program
    ]


@pytest.mark.parametrize("line", typed("llmbench"))
def test_llmbench_commands_parse(line: str) -> None:
    """Every option exists and takes what it is given; nothing is run."""
    from llmbench.harness.cli.app import app

    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    context = command.make_context("llmbench", [])
    while words and words[0] in getattr(command, "commands", {}):
        name = words.pop(0)
        command = command.commands[name]  # pyright: ignore[reportAttributeAccessIssue]
        # Making a context parses the words and runs nothing.
        context = command.make_context(name, list(words), parent=context)
    assert context.info_name != "llmbench" or not words, f"no such command: {line}"


@pytest.mark.parametrize("line", typed("make"))
def test_make_targets_exist(line: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in shlex.split(line, comments=True)[1:]:
        assert re.search(rf"^{re.escape(target)}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)[^)]*\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), target


def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them: lower case, no punctuation, hyphens for spaces."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_is_something_to_check() -> None:
    assert len(typed("llmbench")) >= 5
