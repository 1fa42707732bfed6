"""Names for what blocks hold, so that equal prefixes are found: a hash chained block by block.

Source: vLLM's automatic prefix caching: a full block is named by its tokens and its predecessor's
name, so one look-up a block finds the longest cached prefix. Names are 16-byte BLAKE2b digests, so
they repeat between processes and a collision is out of reach.

A request's salt, if it has one, stands in front of the first block, as in vLLM: whoever has another
shares no name with it.
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
        digest = blake2b(names[-1] if names else _root(request), digest_size=16)
        digest.update(tokens.tobytes())
        names.append(digest.digest())
    return names


def _root(request: RequestState) -> bytes:
    """What stands before the first block's tokens: as long as a name, so that no salt and tokens
    can be read as another salt and other tokens."""
    salt = request.request.cache_salt
    if salt is None:
        return ROOT
    return blake2b(salt.encode(errors="surrogatepass"), digest_size=16, person=b"salt").digest()


def reusable_blocks(request: RequestState, block_size: int) -> int:
    """Blocks that may come from a cache: whole ones, and never the newest token's, which must be
    computed for its logits."""
    return (request.known_tokens - 1) // block_size
