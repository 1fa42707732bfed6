"""What may be asked of a method for a model."""

from __future__ import annotations

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.config import parse_config
from llmbench.engines.quantization.scheme import WHOLE_ROW, Scheme, asked_scheme

from .tiny import tiny_json

# No usual group divides 48 and 136, and no other group is needed for whole rows.
NARROW = parse_config(
    tiny_json("multi-head") | {"hidden_size": 48, "intermediate_size": 136, "head_dim": 12}
)


@pytest.mark.parametrize("method", ["rtn", "gptq", "awq"])
def test_whole_rows_need_no_group(method: str) -> None:
    asymmetric = method != "gptq"
    expected = Scheme(method, 4, None, symmetric=not asymmetric, act_order=method == "gptq")
    assert asked_scheme(NARROW, method, group_size=WHOLE_ROW) == expected
    assert asked_scheme(NARROW, method, group_size=24).group_size == 24
    with pytest.raises(ConfigError, match=r"group_size: \[48, 136\] is not allowed"):
        asked_scheme(NARROW, method)


@pytest.mark.parametrize("size", [WHOLE_ROW, 32])
def test_a_method_without_groups_takes_no_size(size: int) -> None:
    with pytest.raises(ConfigError, match=f"group_size: {size} .* int8 has no groups"):
        asked_scheme(NARROW, "int8", group_size=size)
