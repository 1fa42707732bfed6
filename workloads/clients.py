"""Many independent senders at once: the superposition of stationary renewal processes.

Production traffic is a few heavy senders, each bursty in its own way, and many light ones; their
sum is no renewal process (ServeGen, arXiv 2505.09999). Every sender has been sending for long when
the run begins, so its first gap is the rest of a gap under way: a uniform share of a gap drawn in
proportion to its length (Cox, Renewal Theory, 1962, section 5.4). Such a gap is drawn exactly: of
gamma(k) it is gamma(k + 1), of Weibull(k) it is G^(1/k) with G from gamma(1 + 1/k).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .spec import Client

Seconds = NDArray[np.float64]


def superposed_times_s(
    clients: Sequence[Client], num_requests: int, rng: np.random.Generator
) -> Seconds:
    """[num_requests] the first arrivals of all clients together."""
    senders = [_Sender(one, own) for one, own in zip(clients, rng.spawn(len(clients)), strict=True)]
    horizon_s = 1.1 * num_requests / sum(one.rate_per_s for one in clients)
    while True:
        times_s = np.concatenate([sender.until(horizon_s) for sender in senders])
        if len(times_s) >= num_requests:
            return np.sort(times_s)[:num_requests]
        horizon_s *= 1.5


def weibull_shape(cv: float) -> float:
    """The shape whose coefficient of variation is `cv`: by bisection, as it falls in the shape."""
    low, high = 1e-2, 1e3
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (
            (middle, high) if _weibull_log_cv2(middle) > math.log1p(cv**2) else (low, middle)
        )
    return math.sqrt(low * high)


def _weibull_log_cv2(shape: float) -> float:
    """ln(1 + CV^2): second moment over the square of the mean."""
    return math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)


class _Sender:
    """One client's arrivals, drawn as far as they are asked for."""

    def __init__(self, client: Client, rng: np.random.Generator) -> None:
        self._draw, lengthened = _gaps(client, rng)
        self._gaps_s = np.array([rng.random() * lengthened])
        self._expected_per_s = client.rate_per_s

    def until(self, horizon_s: float) -> Seconds:
        """Seconds of all arrivals before horizon_s."""
        # Gaps are drawn a fixed number at a time, so that a longer run begins like a shorter one.
        while (total_s := self._gaps_s.sum()) < horizon_s:
            missing = (horizon_s - total_s) * self._expected_per_s
            chunks = max(1, min(math.ceil(missing / _CHUNK), 1000))
            drawn = [self._draw(_CHUNK) for _ in range(chunks)]
            self._gaps_s = np.concatenate((self._gaps_s, *drawn))
        times_s = np.cumsum(self._gaps_s)
        return times_s[times_s < horizon_s]


_CHUNK = 64


def _gaps(client: Client, rng: np.random.Generator) -> tuple[Callable[[int], Seconds], float]:
    """What draws a client's gaps, and one gap drawn in proportion to its length."""
    mean_s = 1 / client.rate_per_s
    if client.family == "gamma":
        shape = client.cv**-2
        scale_s = mean_s / shape
        return lambda n: scale_s * rng.standard_gamma(shape, n), scale_s * rng.standard_gamma(
            shape + 1
        )
    shape = weibull_shape(client.cv)
    scale_s = mean_s / math.gamma(1 + 1 / shape)
    return (
        lambda n: scale_s * rng.standard_exponential(n) ** (1 / shape),
        scale_s * rng.standard_gamma(1 + 1 / shape) ** (1 / shape),
    )
