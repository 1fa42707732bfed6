"""What `--calibration` reads, by the name that it is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.harness.quality.calibration_texts import calibration_texts

DOCUMENTS = ["the first", "the second"]
LINES = "\n".join(json.dumps({"text": one}) for one in DOCUMENTS)


@pytest.mark.parametrize("name", ["a.jsonl", "A.JSONL", "a.Jsonl"])
def test_json_lines_are_known_by_their_suffix_in_any_case(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(LINES)
    assert list(calibration_texts(str(tmp_path / name))) == DOCUMENTS


def test_conversations_are_known_by_their_suffix_in_any_case(tmp_path: Path) -> None:
    said = [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "there"}]
    (tmp_path / "A.JSON").write_text(json.dumps([{"conversations": said}]))
    assert list(calibration_texts(str(tmp_path / "A.JSON"))) == ["hello\n\nthere"]


@pytest.mark.parametrize("kind", ["files", "saved", "saved with splits"])
def test_a_data_set_in_the_home_directory_is_found_there(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import Dataset, DatasetDict

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    directory = tmp_path / "ds"
    made = Dataset.from_dict({"text": DOCUMENTS})
    if kind == "files":
        directory.mkdir()
        (directory / "train.jsonl").write_text(LINES)
    elif kind == "saved":
        made.save_to_disk(directory)
    else:
        DatasetDict({"train": made}).save_to_disk(directory)
    assert list(calibration_texts("~/ds")) == DOCUMENTS
