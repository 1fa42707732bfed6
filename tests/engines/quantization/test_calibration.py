from __future__ import annotations

from collections.abc import Iterator

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.tokenizer import ByteTokenizer
from llmbench.engines.quantization.calibration import CalibrationSize, calibration_windows

BYTES = ByteTokenizer()


def text_of(windows: list[list[int]]) -> str:
    return "".join(BYTES.decode(window) for window in windows)


def test_windows_are_the_texts_front_with_blank_lines_between() -> None:
    windows = calibration_windows(["abc", "de", "fghij"], BYTES, CalibrationSize(5, 3))
    assert windows.tolist()[0] == [97, 98, 99]
    assert text_of(windows.tolist()) == "abc\n\nde\n\nfgh"  # four windows; "ij" is left
    assert windows.shape == (4, 3)


def test_no_more_is_read_than_is_needed() -> None:
    def texts() -> Iterator[str]:
        yield "x" * 10
        pytest.fail("read on")

    assert calibration_windows(texts(), BYTES, CalibrationSize(2, 4)).shape == (2, 4)


@pytest.mark.parametrize(
    ("texts", "size", "message"),
    [
        ([], CalibrationSize(8, 64), r"at least 64 tokens, one window of 64; it has 0"),
        ([""], CalibrationSize(8, 64), "it has 0"),
        (["x" * 63], CalibrationSize(8, 64), "it has 63"),
        (["x" * 500], CalibrationSize(8, 64, 8), "at least 512 tokens, 8 windows of 64; .* 500"),
    ],
)
def test_too_little_text_is_refused_with_how_much_is_needed(
    texts: list[str], size: CalibrationSize, message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"calibration: 'mine' .* {message}") as refused:
        calibration_windows(texts, BYTES, size, name="mine")
    assert "\n" not in str(refused.value)
