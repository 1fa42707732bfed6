"""GPTQ: integer weights, each column of which makes up for the error of those before it.

Within a layer maps are quantised in the order in which they compute ({q, k, v}, o, {gate, up},
down), each for inputs that come through what is quantised already ("true sequential"), and the
next layer sees this one quantised. Source: see `gptq_solve.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...kernels.registry import KernelError
from ..errors import ModelError
from ..models import dense as forward
from .gptq_solve import DAMPING, Hessian, solve
from .grid import Grid, pack_codes
from .layer import DOWN, GATE_UP, QKV, CalibratedLayer, LayerMaps, O, QuantizedLayer
from .quantized import QuantizedMap


@dataclass(frozen=True)
class Gptq:
    """`LayerMethod` for 4 and 8 bits, in groups or a scale a row, as the scheme says."""

    @property
    def follows_quantized(self) -> bool:
        return True

    def quantize(self, layer: CalibratedLayer) -> QuantizedLayer:
        work = _TrueSequential(layer)
        work.attention_maps()
        after_attention = work.attention_output()
        work.mlp_maps(after_attention)
        return QuantizedLayer(work.maps, {}, {}, "; ".join(work.notes))


class _TrueSequential:
    """The maps of one layer so far, and what had to be done otherwise."""

    def __init__(self, layer: CalibratedLayer) -> None:
        self._layer = layer
        self._runner = layer.runner
        self.maps: LayerMaps = {}
        self.notes: list[str] = []

    def attention_maps(self) -> None:
        """q, k and v from what comes into the layer."""
        decoder = self._runner.decoder(self._layer.tensors, {})
        hessian = self._hessian(self._runner.config.hidden_size)
        for batch in self._layer.hidden:
            hessian.add(self._runner.attention_input(decoder, batch))
        self._quantize(QKV, hessian)

    def attention_output(self) -> list[Tensor]:
        """o from what q, k and v as quantised attend to; the hidden states after it."""
        runner = self._runner
        decoder = runner.decoder(self._layer.tensors, self.maps)
        hessian = self._hessian(runner.config.q_size)
        contexts: list[Tensor] = []
        for batch in self._layer.hidden:
            normed = runner.attention_input(decoder, batch)
            context = forward.attention_context(
                normed, decoder, runner.rotary, runner.config, runner.ops
            )
            hessian.add(context)
            contexts.append(context)
        self._quantize((O,), hessian)
        decoder = runner.decoder(self._layer.tensors, self.maps)
        for position, batch in enumerate(self._layer.hidden):
            contexts[position] = batch + decoder.o(contexts[position])
        return contexts

    def mlp_maps(self, after_attention: Sequence[Tensor]) -> None:
        """gate and up, then down from what they give."""
        runner = self._runner
        decoder = runner.decoder(self._layer.tensors, self.maps)
        hessian = self._hessian(runner.config.hidden_size)
        for batch in after_attention:
            hessian.add(runner.mlp_input(decoder, batch))
        self._quantize(GATE_UP, hessian)

        decoder = runner.decoder(self._layer.tensors, self.maps)
        hessian = self._hessian(runner.config.intermediate_size)
        for batch in after_attention:
            normed = runner.mlp_input(decoder, batch)
            hessian.add(forward.mlp_activation(normed, decoder, runner.ops))
        self._quantize((DOWN,), hessian)

    def _hessian(self, in_features: int) -> Hessian:
        return Hessian(in_features, self._runner.device)

    def _quantize(self, names: Sequence[str], hessian: Hessian) -> None:
        """Maps of one input, whose Hessian and order of columns they share."""
        scheme = self._runner.scheme
        weight = self._layer.stacked(names)
        try:
            solved = solve(weight, hessian.take(), scheme.grid, act_order=scheme.act_order)
        except ValueError as error:
            reason = f"has inputs that cannot be calibrated on: {error}"
            raise ModelError("model", f"layer {self._layer.index} {names[0]}", reason) from error
        if solved.damping > DAMPING:
            self.notes.append(
                f"{names[0]}: damped by {100 * solved.damping:.0f} %, not {100 * DAMPING:.0f} %"
            )
        rows = [len(self._layer.tensors[f"{name}.weight"]) for name in names]
        parts = zip(
            names,
            solved.codes.split(rows),
            solved.grid.scales.split(rows),
            solved.grid.zeros.split(rows),
            strict=True,
        )
        for name, codes, scales, zeros in parts:
            grid = Grid(scales, zeros, solved.grid.format)
            try:
                self.maps[name] = QuantizedMap(pack_codes(codes, grid))
            except KernelError as error:
                raise ModelError("model", name, f"cannot be quantised: {error}") from error
