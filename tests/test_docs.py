"""What the documents tell people to type must exist."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
# Options that documents name, of other programs.
OTHERS_OPTIONS = {"--save-detailed": "vllm bench serve"}


def commands(document: Path) -> Iterator[str]:
    """Lines of shell blocks, with continuations joined; what is set for them alone dropped."""
    text = document.read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"^(\$ )?([A-Z_]+=\S+ )*", "", line).strip()


def in_prose(document: Path) -> Iterator[str]:
    """What is set as code within sentences and tables, over the end of a line too."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    for span in re.findall(r"`([^`]+)`", text):
        yield " ".join(span.split())


def options_of(document: Path) -> set[str]:
    """Of spans that are options alone, such as `--kv paged`: which command's is for the reader."""
    return {
        word.partition("=")[0]
        for span in in_prose(document)
        if span.startswith("--")
        for word in span.split(" ")
        if re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word)
    }


def typed(program: str, where=commands) -> list:
    """A test parameter a command, labelled with where it stands."""
    return [
        pytest.param(line, id=f"{document.name}: {line}")
        for document in DOCUMENTS
        for line in dict.fromkeys(where(document))
        if line.split(" ")[0].removeprefix(".venv/bin/") == program
    ]


@pytest.mark.parametrize("line", typed("llmbench"))
def test_llmbench_commands_parse(line: str) -> None:
    """Every option exists and takes what it is given; nothing is run."""
    parse(line)


@pytest.mark.parametrize("line", typed("llmbench", in_prose))
def test_llmbench_commands_in_sentences_parse(line: str) -> None:
    """As those of blocks, but that they may leave out what the command cannot do without."""
    try:
        parse(line.removesuffix(" --help"))
    except typer.BadParameter as error:
        if type(error).__name__ != "MissingParameter":
            raise


def parse(line: str) -> None:
    """Raises click's errors; fails where there is no such command."""
    words = shlex.split(line, comments=True)[1:]
    command = llmbench()
    context = command.make_context("llmbench", [])
    while words and words[0] in getattr(command, "commands", {}):
        name = words.pop(0)
        command = command.commands[name]
        # Making a context parses the words and runs nothing.
        context = command.make_context(name, list(words), parent=context)
    assert context.info_name != "llmbench" or not words, f"no such command: {line}"


def llmbench() -> Any:
    from llmbench.harness.cli.app import app

    return typer.main.get_command(app)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_a_page_work_one_after_the_other(document: Path) -> None:
    """None stores in a directory what another refuses to replace, or cannot read."""
    made: dict[str, tuple[str, ...]] = {}
    page = [words for words in map(words_of, commands(document)) if words[:1] == ["llmbench"]]
    for words in page:
        for where in filter(is_directory, values("--out", words)):
            assert made.setdefault(where, tuple(words)) == tuple(words), where
    for words in page:
        read = [made[word] for word in words if word in made and made[word] != tuple(words)]
        if words[1] in ONE_RUN:
            assert [one for one in read if stored(one) != "a run"] == [], words
        if words[1] in ALIKE:
            assert len({stored(one) for one in read}) <= 1, words


def is_directory(where: str) -> bool:
    """By the pages' habit; a single file is replaced by whichever command writes it."""
    return where.startswith("runs/")


# Commands that refuse a directory of several runs, and those that refuse one beside a single run.
ONE_RUN = {"calibrate", "explain", "export"}
ALIKE = {"compare", "gate"}


def stored(words: tuple[str, ...]) -> str:
    """What a command leaves in its --out."""
    if "--repeats" in words:
        return "repeats"
    methods = any("," in value for value in values("--quant", words))
    return "a run" if words[1] in {"run", "simulate"} and not methods else "runs"


def values(option: str, words: Sequence[str]) -> list[str]:
    return [value for name, value in itertools.pairwise(words) if name == option]


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


@pytest.mark.parametrize(
    "document", [one for one in DOCUMENTS if options_of(one)], ids=lambda path: path.name
)
def test_options_in_sentences_exist(document: Path) -> None:
    """Each is one of some command's, or of a script's in tests/."""
    unknown = options_of(document) - known_options() - OTHERS_OPTIONS.keys()
    assert unknown == set()


def known_options() -> set[str]:
    scripts = "".join(one.read_text(encoding="utf-8") for one in ROOT.glob("tests/**/*.py"))
    return {*options_below(llmbench()), *re.findall(r"add_argument\(\s*\"(--[a-z-]+)\"", scripts)}


def options_below(command: Any) -> Iterator[str]:
    for one in command.params:
        yield from (*one.opts, *one.secondary_opts)
    for inner in getattr(command, "commands", {}).values():
        yield from options_below(inner)


def test_options_of_other_programs_are_named_somewhere() -> None:
    """Whoever drops the sentence drops the line of the list."""
    named = {option for document in DOCUMENTS for option in options_of(document)}
    assert OTHERS_OPTIONS.keys() <= named - known_options()


@pytest.mark.parametrize("line", [*typed("make"), *typed("make", in_prose)])
def test_make_targets_exist(line: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in shlex.split(line, comments=True)[1:]:
        if "=" not in target:
            assert re.search(rf"^{re.escape(target)}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("line", [*typed("python"), *typed("python", in_prose)])
def test_modules_exist(line: str) -> None:
    """Ours, with each option as an argument of argparse's or a function's."""
    _, flag, module, *words = shlex.split(line, comments=True)
    assert flag == "-m"
    room, *names = module.removeprefix("llmbench.").split(".")
    if (ROOT / room).is_dir():
        text = ROOT.joinpath(room, *names).with_suffix(".py").read_text(encoding="utf-8")
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        assert [o for o in options if f'"{o}"' not in text and _parameter(o) not in text] == []


def _parameter(option: str) -> str:
    return f"\n    {option[2:].replace('-', '_')}: "


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


def test_every_option_of_a_policy_is_explained() -> None:
    run = llmbench().commands["run"]
    policies = [one for one in run.params if one.rich_help_panel == "Policies"]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert policies
    assert [one.opts[0] for one in policies if f"| `{one.opts[0]}` |" not in text] == []


def test_every_kind_of_kernel_is_explained() -> None:
    source = "".join(one.read_text(encoding="utf-8") for one in ROOT.glob("kernels/*/*.py"))
    kinds = set(re.findall(r'\bbackend(?:: str )? ?= ?"([a-z-]+)"', source))
    text = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
    assert {"reference", "torch", "triton"} <= kinds
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in text] == []


def test_there_is_something_to_check() -> None:
    for where in (commands, in_prose):
        assert len(typed("llmbench", where)) >= 5
        assert typed("python", where)
    assert len(set[str]().union(*map(options_of, DOCUMENTS))) >= 50
