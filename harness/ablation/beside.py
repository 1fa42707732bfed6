"""What the cells of an ablation differ in beside its axes: settings that follow from a level.

The tokens of a step follow from whether prompts are cut, the KV memory from what steps leave: an
effect may be theirs and not the axis's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...reports.format import listed
from ..comparison.comparability import in_force
from ..comparison.compare import differing_config
from ..result import Result
from .design import Design, option_of

# Weights are one choice, as they are typed.
_WEIGHTS = frozenset({"quant", "quant_activations", "quant_head", "quant_bits"})


def beside_axes(design: Design, results: Sequence[Result]) -> Iterator[str]:
    """The note on them, if there are any, with the options that make them equal. results: of one
    run of each cell."""
    found = {
        one.field: texts
        for one in differing_config(results)
        if len(texts := in_force(results, one.field)) > 1
    }
    axes = [axis.name for axis in design.axes]
    for name in _WEIGHTS.union(axes) if _WEIGHTS.intersection(axes) else axes:
        found.pop(name, None)
    if not any(one.counters.swaps_out for one in results):
        found.pop("preemption", None)  # `auto` and `recompute` did the same
    if not found:
        return
    differ = listed([f"{field} ({' / '.join(texts)})" for field, texts in found.items()])
    options = [option for field in found if (option := option_of(field))]
    how = f"; {listed(options)} would make them equal" if options else ""
    yield f"beside {listed(axes)} the cells differ in {differ}, and an effect may be theirs{how}"
