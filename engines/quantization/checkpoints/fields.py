"""Fields of a JSON file, each checked as it is read: an error names the field and its value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import ModelError


class Fields:
    """An object of a JSON file. place: what an error calls it. also: by the name of a field,
    another that some writers give it. behind: another file's, for fields that this one leaves out.
    """

    def __init__(
        self,
        data: object,
        place: str,
        also: Mapping[str, str] | None = None,
        behind: Fields | None = None,
    ) -> None:
        if not isinstance(data, Mapping):
            raise ModelError(place, data, "is not a mapping")
        self._data: Mapping[str, Any] = data
        self._also = also or {}
        self._behind = behind
        self.place = place

    def having(self, **fields: object) -> Fields:
        """The same with fields that the file leaves to its name."""
        return Fields({**self._data, **fields}, self.place, self._also, self._behind)

    def before(self, other: Fields) -> Fields:
        """The same; what it leaves out is as the other says."""
        behind = other if self._behind is None else self._behind.before(other)
        return Fields(self._data, self.place, self._also, behind)

    def source(self, name: str) -> Fields:
        """Those that state a field; these where none does."""
        if self._own(name) is None and self._behind is not None:
            found = self._behind.source(name)
            return self if found._own(name) is None else found
        return self

    @property
    def names(self) -> Sequence[str]:
        """Of the fields."""
        return list(self._data)

    def get(self, name: str) -> Any:
        """The value as it is, None where there is none."""
        return self.source(name)._own(name)

    def wrong(self, name: str, problem: str) -> ModelError:
        """The error for a field."""
        source = self.source(name)
        return ModelError(f"{source.place}.{source._stored(name)}", source._own(name), problem)

    def _own(self, name: str) -> Any:
        return self._data.get(self._stored(name))

    def _stored(self, name: str) -> str:
        """What the file calls a field."""
        other = self._also.get(name, name)
        return name if name in self._data or other not in self._data else other

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        value = default if self.get(name) is None else self.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "is not a whole number")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """true or false."""
        value = default if self.get(name) is None else self.get(name)
        if not isinstance(value, bool):
            raise self.wrong(name, "is not true or false")
        return value

    def one_of(self, name: str, *allowed: object, default: object = None) -> Any:
        """One of the values that are known."""
        value = default if self.get(name) is None else self.get(name)
        # True equals 1, and is another value all the same.
        if not any(value == one and type(value) is type(one) for one in allowed):
            known = ", ".join(map(repr, allowed))
            raise self.wrong(name, f"is not supported; expected one of {known}")
        return value

    def group_size(self) -> int | None:
        """A number above 0; None for -1, a group a row."""
        name = "group_size"
        if self.get(name) is None:
            error = self.wrong(name, "is missing")
            error.args = (f"{error.field}: missing; expected a number above 0, or -1",)
            raise error
        value = self.integer(name)
        if value == -1:
            return None
        if value < 1:
            raise self.wrong(name, "is neither a number above 0 nor -1")
        return value

    def strings(self, name: str) -> Sequence[str]:
        """A list of texts, empty where there is none."""
        value = self.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.wrong(name, "is not a list of names")
        return value

    def pattern(self, text: str, field: str = "") -> None:
        """Raises for a text that is no regular expression: the name of a field, or within one."""
        try:
            re.compile(text)
        except re.error as error:
            place = f"{self.place}.{field}" if field else self.place
            raise ModelError(place, text, f"is no pattern ({error})") from error

    def absent(self, name: str, why: str) -> None:
        """Raises for a field that asks for something."""
        if self.get(name):
            raise self.wrong(name, why)

    def inner(self, name: str) -> Fields:
        """An object within this one."""
        return Fields(self.get(name), f"{self.source(name).place}.{name}")

    def inner_or_none(self, name: str) -> Fields | None:
        """An object within this one, if it is there."""
        return None if self.get(name) is None else self.inner(name)


def flat(value: object) -> Iterator[Any]:
    """What lists within lists hold; of another value, itself."""
    if not isinstance(value, list):
        yield value
        return
    for entry in value:
        yield from flat(entry)


def names_module(key: str, module: str) -> bool:
    """Whether `lm_head`, `self_attn`, `layers.0.mlp` name a module or one that it is in: whole
    parts of its name, so that `mlp.gate` is not `mlp.gate_proj`."""
    return f".{key.strip('.')}." in f".{module}."
