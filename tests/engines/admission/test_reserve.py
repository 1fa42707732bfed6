from __future__ import annotations

from llmbench.engines.admission.reserve import ReserveAdmission
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.state import RequestState
from llmbench.engines.step import Verdict

from ..drive import make_request


def test_what_running_requests_may_still_take_is_not_given_away() -> None:
    kv = PagedKVCache(num_blocks=10, block_size=4)
    running = RequestState(make_request("a", 4, 16))  # 5 blocks at most, 1 held
    kv.extend(running, 4)
    admission = ReserveAdmission()
    fits = RequestState(make_request("b", 4, 16))  # 5 more: 10 in all
    too_long = RequestState(make_request("c", 4, 17))  # 6 more: 11 in all
    assert admission.admit(fits, 4, [running], kv) is Verdict.NOW
    assert admission.admit(too_long, 4, [running], kv) is Verdict.LATER
    assert admission.admit(too_long, 4, [], kv) is Verdict.NOW


def test_a_request_the_whole_pool_cannot_complete_never_starts() -> None:
    kv = PagedKVCache(num_blocks=4, block_size=4)
    request = RequestState(make_request("a", 4, 13))
    assert ReserveAdmission().admit(request, 4, [], kv) is Verdict.NEVER
