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
        self._by_content: dict[bytes, dict[int, None]] = {}

    @property
    def free_blocks(self) -> int:
        return len(self._free)

    def take(self) -> int:
        """The least recently freed block, its content forgotten. KeyError if none is free."""
        block, _ = self._free.popitem(last=False)
        if self._unname(block):
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
        """Of the blocks that keep this content, held or free, the one that was named first."""
        return next(iter(self._by_content.get(content, ())), None)

    def name(self, block: int, content: bytes) -> None:
        """Say what a held block keeps. Others may keep the same: it is found when they are gone."""
        if block not in self._content:
            self._by_content.setdefault(content, {})[block] = None
            self._content[block] = content

    def forget(self, block: int) -> None:
        """A block's content, held or free, is not what was said."""
        if self._unname(block):
            self.cached_blocks -= not self.refs[block]

    def forget_all(self) -> None:
        """No block's content is known any more."""
        self._content.clear()
        self._by_content.clear()
        self.cached_blocks = 0

    def _unname(self, block: int) -> bool:
        """Whether its content was known."""
        content = self._content.pop(block, None)
        if content is None:
            return False
        keepers = self._by_content[content]
        del keepers[block]
        if not keepers:
            del self._by_content[content]
        return True
