"""What our modules log, shown by `main`, which may be called many times in a process."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from llmbench.harness.cli import main

LOG = logging.getLogger("llmbench.kernels.native.build")


def begin() -> None:
    with pytest.raises(SystemExit):
        main(["--version"])


def test_a_line_is_shown_once_however_often_main_began(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        begin()
    capsys.readouterr()
    LOG.info("compiling kernels")
    assert capsys.readouterr().err == "compiling kernels\n"


def test_a_line_is_shown_on_the_standard_error_of_its_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the first call found may be closed by the next."""
    with monkeypatch.context() as first, io.StringIO() as closed:
        first.setattr(sys, "stderr", closed)
        begin()
    begin()
    capsys.readouterr()
    LOG.info("compiling kernels")
    assert capsys.readouterr().err == "compiling kernels\n"
