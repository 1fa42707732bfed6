"""What a directory of repeats may hold, and how other commands meet it."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.repeats.directory import (
    all_or_none,
    check_out,
    find_repeats,
    holds_repeats,
)
from llmbench.harness.storage.store import StoreError, load_run, repeat_directories

from .made import make_run, on_disk


def test_repeats_are_found_in_order_of_their_numbers(tmp_path: Path) -> None:
    out = on_disk(tmp_path / "a", [make_run(at) for at in (10, 2, 1)])
    (out / "repeat-3").mkdir()  # nothing was stored there
    (out / "repeat-x").mkdir()
    assert [one.name for one in repeat_directories(out)] == ["repeat-1", "repeat-2", "repeat-10"]
    found = find_repeats(out)
    assert (found.name, [run.result.config["seed"] for run in found.runs]) == ("a", [1, 2, 10])


def test_a_run_is_no_repeats_and_repeats_are_no_run(tmp_path: Path) -> None:
    out = on_disk(tmp_path / "a", [make_run(1), make_run(2)])
    assert holds_repeats(out)
    assert not holds_repeats(out / "repeat-1")
    assert not holds_repeats(tmp_path / "nothing")
    with pytest.raises(StoreError, match=r"holds 2 repeats of a run; .* such as /.*/repeat-1$"):
        load_run(out)
    with pytest.raises(StoreError, match="holds no repeats"):
        find_repeats(out / "repeat-1")


def test_one_run_beside_repeats_is_refused_with_what_to_do(tmp_path: Path) -> None:
    out = on_disk(tmp_path / "a", [make_run(1), make_run(2)])
    assert all_or_none([out, out])
    assert not all_or_none([out / "repeat-1", out / "repeat-2"])
    with pytest.raises(ConfigError, match=r"--repeats' for repeat-2.*a/repeat-1\)") as error:
        all_or_none([out, out / "repeat-2"])
    assert "\n" not in str(error.value)


def test_what_is_there_decides_where_repeats_may_go(tmp_path: Path) -> None:
    check_out(tmp_path / "new", 2)
    out = on_disk(tmp_path / "a", [make_run(1), make_run(2), make_run(3)])
    (out / "repeats.json").write_text("{}")
    check_out(out, 3)
    check_out(out, 5)
    with pytest.raises(StoreError, match="holds repeat-3; expected --repeats 3 or more"):
        check_out(out, 2)
    with pytest.raises(StoreError, match="holds other files"):
        check_out(out / "repeat-1", 2)
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other files .thesis.tex"):
        check_out(out, 3)
    with pytest.raises(StoreError, match="is a file"):
        check_out(out / "thesis.tex", 3)
