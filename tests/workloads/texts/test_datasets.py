"""Splits of datasets that are local: saved ones, and folders of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.load import load_spec
from llmbench.workloads.spec import DatasetPrompts
from llmbench.workloads.texts import read_conversations

datasets = pytest.importorskip("datasets")


def users(name: object) -> list[str]:
    """What the rows of a dataset say first."""
    prompts = DatasetPrompts(kind="dataset", dataset=str(name))
    return [one.turns[0].user for one in read_conversations(prompts)]


def rows(*said: str, **more: str) -> Any:
    return datasets.Dataset.from_dict({"prompt": list(said)}, **more)


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved dictionary of splits; each says its name."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    splits = {name: rows(name) for name in ("train", "test")}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "dict"))
    return tmp_path / "dict"


def test_a_folder_of_several_splits_asks_for_one(saved: Path) -> None:
    with pytest.raises(WorkloadError, match="has several; expected a split: train, test"):
        users(saved)
    assert users(f"{saved}:test") == ["test"]
    assert users(f"hf:{saved}:train") == ["train"]
    with pytest.raises(WorkloadError, match="has no split 'valid'; expected a split: train, test"):
        users(f"{saved}:valid")


def test_one_that_was_saved_alone_has_its_own_split(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    rows("a", split="test").save_to_disk(str(alone))
    for name in (alone, f"{alone}:test", f"hf:{alone}", f"hf:{alone}:test"):
        assert users(name) == ["a"]
    with pytest.raises(WorkloadError, match="has no split 'train'; expected a split: test"):
        users(f"{alone}:train")


@pytest.mark.usefixtures("saved")
def test_a_folder_of_files_has_the_splits_that_they_name(tmp_path: Path) -> None:
    data = tmp_path / "repo" / "data"
    data.mkdir(parents=True)
    rows("a").to_parquet(str(data / "test-00000.parquet"))
    assert users(tmp_path / "repo") == users(f"hf:{tmp_path / 'repo'}") == ["a"]
    rows("b").to_parquet(str(data / "validation-00000.parquet"))
    assert users(f"{tmp_path / 'repo'}:validation") == ["b"]
    with pytest.raises(WorkloadError, match="has several; expected a split: "):
        users(tmp_path / "repo")
    rows("c").to_parquet(str(data / "train-00000.parquet"))
    assert users(tmp_path / "repo") == ["c"]


def test_a_file_has_one_split(saved: Path) -> None:
    path = saved.parent / "d.parquet"
    rows("a").to_parquet(str(path))
    assert users(f"{path}:train") == ["a"]
    with pytest.raises(WorkloadError, match="has no split 'test'; expected a split: train"):
        users(f"{path}:test")


def test_a_file_after_hf_is_read_and_no_hub_is_asked(saved: Path) -> None:
    path = saved.parent / "d.parquet"
    rows("a").to_parquet(str(path))
    for name in (f"hf:{path}", f"hf:{path}:train"):
        assert users(name) == ["a"]
    with pytest.raises(WorkloadError, match="has no split 'test'; expected a split: train"):
        users(f"hf:{path}:test")


def test_an_empty_file_is_said_to_be_empty(saved: Path) -> None:
    path = saved.parent / "d.parquet"
    path.touch()
    with pytest.raises(WorkloadError, match="is empty; expected at least one prompt"):
        users(path)


def test_a_path_with_a_colon_in_it_is_a_path(saved: Path) -> None:
    named = saved.rename(saved.parent / "a:b")
    assert users(f"{named}:test") == ["test"]


def test_datasets_are_beside_the_workload_file(saved: Path) -> None:
    folder = saved.parent
    (folder / "d.json").touch()
    for name, expected in (
        ("dict:test", f"{folder}/dict:test"),
        ("hf:dict:test", f"hf:{folder}/dict:test"),
        ("hf:d.json:train", f"hf:{folder}/d.json:train"),
        ("hf:squad:test", "hf:squad:test"),
        ("hf::", "hf::"),
    ):
        path = folder / "w.yaml"
        path.write_text(
            "num_requests: 1\narrivals: {kind: at_once}\nlengths: {kind: text}\n"
            f"prompts: {{kind: dataset, dataset: '{name}'}}\n"
        )
        prompts = load_spec(path).prompts
        assert isinstance(prompts, DatasetPrompts)
        assert prompts.dataset == expected


def test_a_broken_file_is_one_line(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    """pyarrow's error is logged by `datasets`, too."""
    path = saved.parent / "d.parquet"
    path.write_bytes(b"PAR1 no more")
    datasets.utils.logging.enable_propagation()
    try:
        with pytest.raises(WorkloadError, match="cannot be loaded") as caught:
            users(path)
    finally:
        datasets.utils.logging.disable_propagation()
    assert caplog.records == []
    assert "\n" not in str(caught.value)
