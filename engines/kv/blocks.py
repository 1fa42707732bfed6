"""The pool of blocks: who may be handed out next, how many hold each, which keep known content.

A block nobody holds is free. If its content is known it stays findable until it is handed out
again; the least recently freed goes first, so that eviction is LRU without a clock.
Source: the free-block queue of vLLM v1's block pool; freed in reverse order, a sequence's tail is
evicted before its head.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable


class BlockPool:
    """Blocks 0 … num_blocks - 1, all free at first and handed out in that order."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.refs = [0] * num_blocks
        self.extra_refs = 0
        """Sum of (holders - 1) over held blocks."""
        self.cached_blocks = 0
        """Free blocks with known content."""
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))
        self._content: dict[int, bytes] = {}
        self._by_content: dict[bytes, int] = {}

    @property
    def free_blocks(self) -> int:
        return len(self._free)

    def take(self) -> int:
        """The least recently freed block, its content forgotten. KeyError if none is free."""
        block, _ = self._free.popitem(last=False)
        content = self._content.pop(block, None)
        if content is not None:
            del self._by_content[content]
            self.cached_blocks -= 1
        self.refs[block] = 1
        return block

    def hold(self, block: int) -> None:
        """One more holder of a block, held or free."""
        if self.refs[block]:
            self.extra_refs += 1
        else:
            del self._free[block]
            self.cached_blocks -= block in self._content
        self.refs[block] += 1

    def drop(self, blocks: Iterable[int]) -> None:
        """One holder fewer of each, in that order; those without any become free."""
        refs, free = self.refs, self._free
        for block in blocks:
            refs[block] -= 1
            if refs[block]:
                self.extra_refs -= 1
            else:
                free[block] = None
                self.cached_blocks += block in self._content

    def find(self, content: bytes) -> int | None:
        """The block that keeps this content, held or free."""
        return self._by_content.get(content)

    def name(self, block: int, content: bytes) -> None:
        """Say what a held block keeps; if another block keeps the same, that one stays findable."""
        if content not in self._by_content and block not in self._content:
            self._by_content[content] = block
            self._content[block] = content

    def forget(self, block: int) -> None:
        """A block's content, held or free, is not what was said."""
        content = self._content.pop(block, None)
        if content is not None:
            del self._by_content[content]
            self.cached_blocks -= not self.refs[block]

    def forget_all(self) -> None:
        """No block's content is known any more."""
        self._content.clear()
        self._by_content.clear()
        self.cached_blocks = 0
