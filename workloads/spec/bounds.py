"""How large and how small numbers in a workload file may be.

Bounds are far beyond what anyone sends, and near enough that a slip of the keyboard is one line and
not a machine without memory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

# Far beyond any load that a machine of ours is sent, and near enough that all of it can be held.
MOST_REQUESTS = 10_000_000
# The longest context windows are of 10 million.
MOST_TOKENS = 2**24
# Of all prompts of a plan together: 8 GB of them.
MOST_PROMPT_TOKENS = 1_000_000_000
MOST_SAMPLES = 1024
MOST_MEAN_TURNS = 1e6


@dataclass(frozen=True)
class Within:
    """Marks a number that may lie from `low` to `high`, both included.

    A text or a truth value is no number, whatever it spells: `true` is 1 to Python and to nobody
    who writes a workload.
    """

    low: float
    high: float
    whole: bool = False

    @property
    def allowed(self) -> str:
        """In words, for an error."""
        what = "a whole number" if self.whole else "a number"
        return f"{what} from {_written(self.low)} to {_written(self.high)}"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "minimum": self.low, "maximum": self.high}

    def _checked(self, value: object) -> object:
        if isinstance(value, Real) and not isinstance(value, bool):
            number = cast("float", value)
            if self.low <= number <= self.high and not (self.whole and number % 1):
                return value
        raise PydanticCustomError("outside", "{allowed}", {"allowed": self.allowed})


def _can_be_named(value: object) -> object:
    """Refuse a text that no file can have as its name."""
    if isinstance(value, str | Path):
        try:
            named = os.fsencode(value)
        except UnicodeEncodeError:  # half of a pair of UTF-16
            named = b"\0"
        if b"\0" in named:
            raise PydanticCustomError("outside", "{allowed}", {"allowed": "a name of a file"})
    return value


FilePath = Annotated[Path, BeforeValidator(_can_be_named)]
FileName = Annotated[str, BeforeValidator(_can_be_named)]

Requests = Annotated[int, Within(1, MOST_REQUESTS, whole=True)]
Tokens = Annotated[int, Within(1, MOST_TOKENS, whole=True)]
SomeTokens = Annotated[int, Within(0, MOST_TOKENS, whole=True)]
Samples = Annotated[int, Within(1, MOST_SAMPLES, whole=True)]
TurnCount = Annotated[int, Within(1, MOST_REQUESTS, whole=True)]
Rows = Annotated[int, Within(1, 10**9, whole=True)]

# From a request in 30 years to one a nanosecond.
Rate = Annotated[float, Within(1e-9, 1e9)]
AnyRate = Annotated[float, Within(0, 1e9)]
# From a nanosecond to 30 years.
Seconds = Annotated[float, Within(1e-9, 1e9)]
AnySeconds = Annotated[float, Within(0, 1e9)]
Factor = Annotated[float, Within(1e-9, 1e9)]
# Wider gaps than the first are one burst, narrower ones than the second a float does not hold.
Variation = Annotated[float, Within(1e-9, 1000)]
TokensHeld = Annotated[float, Within(-MOST_TOKENS, MOST_TOKENS)]
Edge = Annotated[float, Within(1e-9, MOST_TOKENS)]
Spread = Annotated[float, Within(1e-9, MOST_TOKENS)]
# Of natural logarithms: e^20 is 485 million.
Log = Annotated[float, Within(-20, 20)]
LogSpread = Annotated[float, Within(1e-9, 20)]
TurnMean = Annotated[float, Within(1, MOST_MEAN_TURNS)]
Share = Annotated[float, Within(0, 1)]
Weight = Annotated[float, Within(0, 1e12)]
Correlation = Annotated[float, Within(-1, 1)]


def _written(number: float) -> str:
    return f"{int(number):,}" if number == int(number) else f"{number:g}"
