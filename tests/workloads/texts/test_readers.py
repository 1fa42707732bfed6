"""What is read from files: every form, and what is wrong with one, in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.spec import (
    DatasetPrompts,
    JsonlPrompts,
    ShareGPTPrompts,
    TextPrompts,
)
from llmbench.workloads.texts import TextSource, read_conversations
from llmbench.workloads.texts.conversation import Conversation, Turn

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        path = tmp_path / "x"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def sharegpt(path: Path) -> ShareGPTPrompts:
    return ShareGPTPrompts(kind="sharegpt", path=path)


def jsonl(path: Path, prompt: str = "prompt", reply: str | None = None) -> JsonlPrompts:
    return JsonlPrompts(kind="jsonl", path=path, prompt_field=prompt, reply_field=reply)


def said(one: Conversation) -> list[tuple[str, str | None]]:
    return [(turn.user, turn.reply) for turn in one.turns]


def test_lines_and_paragraphs(write: Write) -> None:
    path = write("one\n two \n\nthree\n \nfour\n")
    lines = read_conversations(TextPrompts(kind="text", path=path))
    assert [said(one) for one in lines] == [
        [(text, None)] for text in ("one", "two", "three", "four")
    ]
    parts = read_conversations(TextPrompts(kind="text", path=path, split="paragraphs"))
    assert [one.turns[0].user for one in parts] == ["one\n two", "three", "four"]


def test_sharegpt_turns_system_and_what_is_left_out(write: Write) -> None:
    """Two messages of one speaker become one; a reply before any user and blanks go."""
    messages = [
        ("system", "be kind"),
        ("gpt", "lost"),
        ("human", "a"),
        ("human", "b"),
        ("gpt", "c"),
        ("human", " "),
        ("human", "d"),
    ]
    record = {"conversations": [{"from": who, "value": text} for who, text in messages]}
    alone = {"conversations": [{"from": "gpt", "value": "nobody asked"}]}
    found = read_conversations(sharegpt(write(json.dumps([record, alone]))))
    assert found == [Conversation((Turn("a\n\nb", "c"), Turn("d")), "be kind")]


def test_the_real_sharegpt_sample(shared_data: Path) -> None:
    """500 conversations, the first of them of two turns: read off the file by eye."""
    found = read_conversations(sharegpt(shared_data / "text/fastchat_dummy_conversation.json"))
    assert len(found) == 500
    assert [user for user, _ in said(found[0])] == ["Who are you?", "Have a nice day!"]
    assert found[0].turns[1].reply == "You too!"


def test_jsonl_texts_turns_and_messages(write: Write) -> None:
    rows = [
        {"q": "a text", "n": 7},
        {"q": ["first", "second"], "n": [3, "said"]},
        {"q": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "x"}], "n": 4},
        {"q": "  ", "n": 1},
    ]
    path = write("\n".join(json.dumps(row) for row in rows) + "\n\n")
    found = read_conversations(jsonl(path, "q", "n"))
    assert [one.turns for one in found] == [
        (Turn("a text", None, 7),),
        (Turn("first", None, 3), Turn("second", "said")),
        (Turn("u", None, 4),),
    ]
    assert [one.turns[0].reply for one in read_conversations(jsonl(path, "q"))] == [None, None, "x"]


def test_other_line_separators_stay_in_a_text(write: Write) -> None:
    found = read_conversations(jsonl(write('{"prompt": "a\u2028b"}\n')))
    assert found[0].turns[0].user == "a\u2028b"
    # Known wrong here: two lines, or three.
    lines = read_conversations(TextPrompts(kind="text", path=write("a\u2028b\x0cc\nd\r\n")))
    assert [one.turns[0].user for one in lines] == ["a\u2028b\x0cc", "d"]


def test_real_question_files(shared_data: Path) -> None:
    bench = read_conversations(jsonl(shared_data / "text/mt_bench_question.jsonl", "turns"))
    assert (len(bench), len(bench[0].turns)) == (80, 2)
    maths = read_conversations(jsonl(shared_data / "text/gsm8k_test.jsonl", "question", "answer"))
    assert len(maths) == 1319
    assert maths[0].turns[0].user.startswith("Janet")
    assert maths[0].turns[0].reply


@pytest.mark.parametrize(
    ("text", "make", "problem"),
    [
        ("", jsonl, "holds no prompts; expected at least one prompt"),
        ("{", jsonl, "is not JSON (Expecting property name"),
        ('{"prompt": "a"}\n[1]', jsonl, "has no JSON object at line 2; expected a text, a list of"),
        ('{"text": "a", "id": 3}', jsonl, "has no field 'prompt' (it has text, id) at line 1"),
        ('{"prompt": 5}', jsonl, "has int in 'prompt', not a text or a list at line 1"),
        ('{"prompt": ["a", ""]}', jsonl, "has a blank turn in 'prompt' at line 1"),
        ('{"prompt": [{"role": "user"}]}', jsonl, "holds a message whose content is no text at"),
        ('{"prompt": "a \\ud800"}', jsonl, "holds half of a surrogate pair at line 1"),
        (
            '[{"conversations": [{"from": "human", "value": "\\udc00"}]}]',
            sharegpt,
            "holds half of a surrogate pair at item 1",
        ),
        ("{}", sharegpt, "holds no list; expected a JSON list of {conversations:"),
        ("[", sharegpt, "is not JSON: Expecting value"),
        ('[{"id": 1}]', sharegpt, "has no field 'conversations' at item 1"),
        (
            '[{"conversations": [{"from": "martian", "value": "a"}]}]',
            sharegpt,
            "holds a message of the unknown speaker 'martian' at item 1",
        ),
        (" \n", lambda path: TextPrompts(kind="text", path=path), "holds no prompts;"),
    ],
)
def test_what_is_wrong_is_named(
    write: Write, text: str, make: Callable[[Path], TextSource], problem: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_conversations(make(write(text)))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [jsonl, sharegpt])
def test_a_file_that_is_not_there_is_said_once(
    tmp_path: Path, make: Callable[[Path], TextSource]
) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_conversations(make(tmp_path / "nofile.json"))
    said = str(caught.value)
    assert "nofile.json' cannot be read: no such file or directory; expected " in said
    assert [said.count(one) for one in ("prompts.path", "nofile", "expected")] == [1, 1, 1]
    assert "is not JSON" not in said


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (0, "has 0 in 'n', neither a text nor a number of tokens at line 1"),
        (True, "has True in 'n', neither"),
        (["a", "b"], "has 2 in 'n' for 1 turns at line 1"),
    ],
)
def test_a_bad_reply_is_named(write: Write, reply: Any, problem: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_conversations(jsonl(write(json.dumps({"prompt": "a", "n": reply})), reply="n"))
    assert problem in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="cannot be read: no such file or directory"):
        read_conversations(sharegpt(tmp_path / "none.json"))


def dataset(name: object, prompt: str = "prompt", **more: Any) -> DatasetPrompts:
    return DatasetPrompts(kind="dataset", dataset=str(name), prompt_field=prompt, **more)


def test_datasets_from_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = datasets.Dataset.from_dict({"ask": ["a", "b", "c"], "turns": [["d", "e"]] * 3})
    rows.to_parquet(str(tmp_path / "d.parquet"))
    rows.save_to_disk(str(tmp_path / "saved"))
    for name in ("d.parquet", "saved"):
        found = read_conversations(dataset(tmp_path / name, "ask"))
        assert [one.turns[0].user for one in found] == ["a", "b", "c"]
    (one,) = read_conversations(dataset(tmp_path / "saved", "turns", rows=1))
    assert one.turns == (Turn("d"), Turn("e"))
    with pytest.raises(WorkloadError, match=r"has no field 'prompt' .it has ask, turns. at row 1"):
        read_conversations(dataset(tmp_path / "saved"))


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the hub\nwith a second line")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(WorkloadError) as caught:
        read_conversations(dataset("hf:someone/words:test"))
    assert str(caught.value) == (
        "prompts.dataset: 'hf:someone/words:test' cannot be loaded (Couldn't reach the hub); "
        "expected hf:NAME[:SPLIT] that can be reached, a local file or a saved dataset"
    )


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("hf:a/b", ("a/b", None, "train")),
        ("hf:a/b:test", ("a/b", None, "test")),
        ("hf:a/b:en:test[:5%]", None),
        ("hf:a/b:en:validation", ("a/b", "en", "validation")),
    ],
)
def test_a_name_says_config_and_split(
    monkeypatch: pytest.MonkeyPatch, name: str, asked: tuple[str, str | None, str] | None
) -> None:
    datasets = pytest.importorskip("datasets")
    seen: list[tuple[str, str | None, str]] = []

    def load(path: str, config: str | None, split: str) -> list[dict[str, str]]:
        seen.append((path, config, split))
        return [{"prompt": "x"}]

    monkeypatch.setattr(datasets, "load_dataset", load)
    if asked is None:
        with pytest.raises(WorkloadError, match="expected hf:NAME, hf:NAME:SPLIT or"):
            read_conversations(dataset(name))
    else:
        read_conversations(dataset(name))
        assert seen == [asked]


def test_a_repository_of_the_hub_is_read_by_config_and_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `datasets` itself reads one: its README names configs and splits, and the library takes a
    folder in place of a repository's name."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    home = Path("words")
    home.mkdir()
    for split, said in (("train", ["a", "b"]), ("test", ["c"])):
        lines = "".join(json.dumps({"prompt": text}) + "\n" for text in said)
        (home / f"{split}.jsonl").write_text(lines)
    (home / "README.md").write_text(
        "---\nconfigs:\n- config_name: en\n  data_files:\n"
        "  - {split: train, path: train.jsonl}\n  - {split: test, path: test.jsonl}\n---\n"
    )
    for name, expected in (
        ("hf:words", ["a", "b"]),
        ("hf:words:test", ["c"]),
        ("hf:words:en:test", ["c"]),
    ):
        found = read_conversations(dataset(name))
        assert [one.turns[0].user for one in found] == expected
    for name, problem in (
        ("hf:words:valid", "has no split 'valid'; expected a split: train, test"),
        ("hf:words:fr:test", "BuilderConfig 'fr' not found"),
    ):
        with pytest.raises(WorkloadError, match=problem):
            read_conversations(dataset(name))


def test_a_dataset_that_is_a_script_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` runs none since 4.0, and has no `trust_remote_code` any more."""
    pytest.importorskip("datasets", minversion="4.0")
    monkeypatch.chdir(tmp_path)
    Path("scripted").mkdir()
    Path("scripted/scripted.py").write_text("raise AssertionError('it was run')\n")
    with pytest.raises(WorkloadError, match="scripts are no longer supported") as caught:
        read_conversations(dataset("hf:scripted"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("name", "problem"), [("none.csv", "is not there"), ("x", "ending in")])
def test_a_local_name_that_cannot_be_one(write: Write, name: str, problem: str) -> None:
    path = write("hello").parent / name
    with pytest.raises(WorkloadError, match=problem):
        read_conversations(dataset(path))
