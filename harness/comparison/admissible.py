"""Whether a run may enter a comparison or a gate."""

from __future__ import annotations

from ..storage.store import RunOnDisk, StoredRun


def objections(stored: StoredRun | RunOnDisk) -> tuple[str, ...]:
    """Why a run may not enter a comparison or a gate; empty if it may."""
    result = stored.result
    reasons = tuple(check.detail for check in result.validity.failures if check.fatal)
    if not result.validity.valid and not reasons:
        reasons = ("it is marked invalid",)
    if result.status == "partial" and not reasons:
        reasons = ("it was interrupted",)
    return reasons
