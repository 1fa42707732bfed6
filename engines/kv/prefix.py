"""Names for what blocks hold, so that equal prefixes are found: a hash chained block by block.

Source: vLLM's automatic prefix caching: a full block is named by its tokens and its predecessor's
name, so one look-up a block finds the longest cached prefix. Names are 16-byte BLAKE2b digests, so
they repeat between processes and a collision is out of reach.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b

from ..state import RequestState

ROOT = b""


def block_hashes(request: RequestState, block_size: int, blocks: int) -> list[bytes]:
    """Names of the first `blocks` blocks of a sequence; all of them must be full of known tokens.

    Kept on the request, since a waiting one is looked up at every step.
    """
    names = request.block_hashes
    while len(names) < blocks:
        start = len(names) * block_size
        tokens = array("q", request.tokens(start, start + block_size))
        digest = blake2b(names[-1] if names else ROOT, digest_size=16)
        digest.update(tokens.tobytes())
        names.append(digest.digest())
    return names


def reusable_blocks(request: RequestState, block_size: int) -> int:
    """Blocks that may come from a cache: whole ones, and never the newest token's, which must be
    computed for its logits."""
    return (request.known_tokens - 1) // block_size
