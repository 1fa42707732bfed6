"""What a stored run must say to be taken for one that is asked for, so that no two are mixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..run.planning import load_settings
from ..storage.settings import difference, in_force
from ..storage.store import RunOnDisk, Standing, StoreError, find_run, standing

if TYPE_CHECKING:
    from ...workloads.api import Plan
    from ..config import LoadConfig


@dataclass(frozen=True)
class Identity:
    """What a stored run must say to be the run of a cell.

    settings: of `result.config`, by name. fingerprint: of the requests it is sent. load: settings
    that those requests come from, which decide nothing else; they say why requests differ.
    """

    settings: Mapping[str, object]
    fingerprint: str
    load: Mapping[str, object] = field(default_factory=dict)

    def is_of(self, stored: RunOnDisk) -> bool:
        """Whether a whole run of the same settings is stored."""
        return (
            stored.result.status == "complete"
            and stored.result.workload.fingerprint == self.fingerprint
            and difference(in_force(self.settings), stored.result.config) is None
        )

    def difference(self, stored: RunOnDisk) -> str:
        """In what first a stored run is another one: `threads is 2 there, 4 here`."""
        found = difference({**in_force(self.settings), **self.load}, stored.result.config)
        if found is not None:
            return found
        if stored.result.workload.fingerprint != self.fingerprint:
            return "the requests themselves are others"
        return f"it is {stored.result.status}"


def identity_of(
    settings: Mapping[str, object], load: LoadConfig, plan: Plan, fingerprint: str
) -> Identity:
    """settings: that the run's `result.config` will hold, all of them. fingerprint: of the plan.

    The price is one of them, unlike in a comparison: runs that are pooled have one mean cost.
    """
    sent = load_settings(load, plan)
    # The fingerprint says what is sent, whatever file it was read from.
    unsaid = {*sent, "command"}
    decided = {name: value for name, value in settings.items() if name not in unsaid}
    # A run leaves these out where they are not set.
    unset = {"price_per_hour": None, "quality_reference": None}
    return Identity({**unset, **decided}, fingerprint, sent)


@dataclass(frozen=True)
class Place:
    """Where the run of a cell is stored. run: None where it is still to be made. stood: what was
    there when it was looked for, which alone may be replaced."""

    directory: Path
    run: RunOnDisk | None
    stood: Standing


def place_of(directory: Path, identity: Identity, *, replaces_partial: bool = False) -> Place:
    """The run in a directory if it is there, whole and of that identity. replaces_partial: whether
    one that was cut short is as good as none.

    Raises StoreError if a run of other settings stands there: it is not overwritten.
    """
    stood = standing(directory)
    if stood.result is None:
        return Place(directory, None, stood)
    stored = find_run(directory)
    if replaces_partial and stored.result.status == "partial":
        return Place(directory, None, stood)
    if not identity.is_of(stored):
        raise StoreError(
            "out",
            directory,
            f"holds a run of other settings or requests ({identity.difference(stored)}); expected "
            "a new directory, or the one of this very command",
        )
    return Place(directory, stored, stood)
