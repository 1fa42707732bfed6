"""Each example of a command's help is one that the command takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from llmbench.harness.ab.compare import Length
from llmbench.harness.ab.questions import questions_of
from llmbench.harness.cli.app import app
from llmbench.harness.comparison.evidence import ERROR_RATE
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.options.unconverted import USAGE_ERROR

_MARKUP = re.compile(r"\[/?(?:dim|bold)?\]")


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(_commands(typer.main.get_command(app)))


def _examples(epilog: str) -> Iterator[list[str]]:
    """The words of each line, without its remark and what a shell does around the command."""
    for line in epilog.splitlines():
        text = _MARKUP.sub("", line.partition("   [dim]")[0]).strip()
        if text.startswith("llmbench "):
            words = shlex.split(text)
            ends = [at for at, word in enumerate(words) if word in (">", "|", "&&")]
            yield words[1 : min(ends, default=len(words))]


EXAMPLES = [words for command in COMMANDS.values() for words in _examples(command.epilog or "")]


def _parsed(words: list[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Raises what click does for what the command does not take."""
    path = max((path for path in COMMANDS if list(path) == words[: len(path)]), key=len)
    context = COMMANDS[path].make_context(" ".join(path), words[len(path) :])
    return path, context.params


def test_there_are_examples_to_hold() -> None:
    assert len(EXAMPLES) > 60
    assert any("--max-regression" in words for words in EXAMPLES)
    with pytest.raises(USAGE_ERROR):
        _parsed(["gate", "--base", "x"])


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_a_command_takes_its_examples(words: list[str]) -> None:
    path, given = _parsed(words)
    rules, effect = given.get("max_regression"), given.get("effect")
    if path == ("ab",):
        questions = questions_of(rules or ["5%"], effect)
        pairs = None if given["pairs"] == "auto" else int(given["pairs"])
        assert Length(pairs, given["max_pairs"]).looks_after(len(questions), ERROR_RATE)
    else:
        for rule in rules or ():
            assert parse_rule(rule)


def test_vllms_name_is_taken_wherever_requests_are_counted() -> None:
    counted = [
        option.opts
        for command in COMMANDS.values()
        for option in command.params
        if "--num-requests" in option.opts
    ]
    assert len(counted) >= 6
    assert all("--num-prompts" in names for names in counted)
