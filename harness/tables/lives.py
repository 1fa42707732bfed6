"""The lives of what arrived, from a table of requests: of requests or, where later turns wait for
replies, of sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..run.record import RequestStatus

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def lives(requests: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(when each came, when it ended, inf for never), of requests or of sessions."""
    ends_s = requests["t_end_s"].where(requests["status"] == RequestStatus.OK, np.inf)
    if requests["after"].isna().all():
        return requests["t_due_s"].to_numpy(dtype=np.float64), ends_s.to_numpy(dtype=np.float64)
    session = _session_of(requests)
    begun_s = requests["t_due_s"].groupby(session).min()
    return begun_s.to_numpy(dtype=np.float64), ends_s.groupby(session).max().to_numpy()


def _session_of(requests: pd.DataFrame) -> list[int]:
    """Of each row, the index of the request that its session began with."""
    first: dict[int, int] = {}
    waits = requests.dropna(subset=["after"]).sort_values("index")
    # A turn has a larger index than the one before it.
    for index, after in zip(waits["index"], waits["after"], strict=True):
        first[int(index)] = first.get(int(after), int(after))
    return [first.get(int(index), int(index)) for index in requests["index"]]
