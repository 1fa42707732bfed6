"""What a weight costs: bytes read for it, and the dtype its product is computed in, by method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError, unknown_name
from ..models.config import DTYPE_BYTES, HEAD, LAYERS, ModelConfig
from ..quantization.methods import FORMS, METHODS, find_method, head_method, op_of
from .hardware import Hardware

if TYPE_CHECKING:
    from ..config import EngineConfig
    from ..quantization.checkpoints.read import Published
    from ..quantization.scheme import Scheme

# Short names of the dtypes of a config.json.
SHORT_DTYPE = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
ELEMENT_BYTES = {SHORT_DTYPE[name]: size for name, size in DTYPE_BYTES.items()}
DEFAULT_GROUP_SIZE = 128
# Of 8-bit weights that a checkpoint brings in groups: a 16-bit scale, a zero point of a byte.
_GROUP_OF_8_BITS = 3.0


@dataclass(frozen=True)
class WeightFormat:
    """A quantiser's format on the linear layers; the embedding stays unquantised.

    bits: of a weight. group: weights that share a scale, along the input; None: one scale an output
    row, 0: as the user asks (128). scale_bytes: of one scale, a zero point included.
    arithmetic: dtypes its product may run in, the first the hardware has; empty: the model's own,
    that is, weights are widened on the way.
    """

    name: str
    bits: float
    group: int | None = None
    scale_bytes: float = 0.0
    arithmetic: tuple[str, ...] = ()

    def bytes_of(self, rows: int, columns: int, group_size: int | None = None) -> float:
        """Bytes of a matrix [rows = out features, columns = in features], scales included."""
        group = self.group if self.group != 0 else group_size or DEFAULT_GROUP_SIZE
        scales = rows if group is None else rows * (-(-columns // group))
        return rows * columns * self.bits / 8 + scales * self.scale_bytes

    def computes_in(self, hardware: Hardware, model_dtype: str) -> str:
        """The dtype of the product on this hardware. Raises ConfigError where it has none."""
        for dtype in self.arithmetic:
            if dtype in hardware.peak_tflops:
                return dtype
        if self.arithmetic:
            raise ConfigError(
                "quant",
                self.name,
                f"a method whose arithmetic {hardware.name} has (it computes "
                f"{', '.join(hardware.peak_tflops)}; {self.name} needs {self.arithmetic[0]})",
            )
        hardware.peak_flops(model_dtype)
        return model_dtype


# Bytes follow the published layouts: INT4 in groups of 128 with a 16-bit scale (3.87 times smaller
# than 16 bits; 3.85 with AWQ's 4-bit zero point), NVFP4 an e4m3 scale for 16 (3.56), MXFP4 an e8m0
# scale for 32 (3.76), 8 bits a 32-bit scale for each output row, tensor or 128 x 128 weights.
_FORMATS = (
    WeightFormat("rtn", 4, group=0, scale_bytes=2.5),
    WeightFormat("gptq", 4, group=0, scale_bytes=2.0),
    WeightFormat("awq", 4, group=0, scale_bytes=2.5),
    WeightFormat("w4a16", 4, group=0, scale_bytes=2.5),
    WeightFormat("int8", 8, scale_bytes=4.0),
    WeightFormat("w8a8", 8, scale_bytes=4.0, arithmetic=("int8",)),
    WeightFormat("smoothquant", 8, scale_bytes=4.0, arithmetic=("int8",)),
    WeightFormat("fp8", 8, scale_bytes=4.0, arithmetic=("fp8",)),
    WeightFormat("fp8-static", 8, arithmetic=("fp8",)),
    WeightFormat("fp8-block", 8, group=128, scale_bytes=4.0 / 128, arithmetic=("fp8",)),
    # Weights only: activations stay in 16 bits, and with them the product.
    WeightFormat("nvfp4", 4, group=16, scale_bytes=1.0),
    WeightFormat("mxfp4", 4, group=32, scale_bytes=1.0),
)


def weight_format(method: str, model_dtype: str, bits: int | None = None) -> WeightFormat:
    """The format of a method; of `none`, the model's dtype (fp32, fp16 or bf16).

    bits: of a weight, where they are not the method's usual: eight of one that has a scale and
    perhaps a zero point a group, whose zero points are then bytes.
    """
    if method == "none":
        return WeightFormat("none", 8 * ELEMENT_BYTES[model_dtype])
    for found in _FORMATS:
        if found.name == method:
            if bits in (None, found.bits):
                return found
            zero_bytes = (found.scale_bytes - 2.0) * bits / found.bits
            return replace(found, bits=bits, scale_bytes=2.0 + zero_bytes)
    raise unknown_name("quant", method, ("none", *METHODS))


class LayerMap(NamedTuple):
    """A linear map that `layers` of the layers have: how its weights are stored, and its size."""

    format: WeightFormat
    out_features: int
    in_features: int
    layers: int


@dataclass(frozen=True)
class WeightChoice:
    """How a model's linear maps are stored.

    method: none or a quantiser's. group_size: of a method that leaves it open; None: 128. bits: of
    a weight, where they are not the method's usual. head: of the output projection: none, int8,
    w8a8; auto: as the method has it. activations: int8 or, as the method has them, auto.
    stored: of a checkpoint that brings its maps quantised, the scheme of each by its module: a map
    that it leaves out is not quantised, and `method` is that of most. None: all are as `method` is.
    """

    method: str = "none"
    group_size: int | None = None
    bits: int | None = None
    head: str = "auto"
    activations: str = "auto"
    stored: Mapping[str, Scheme] | None = None

    @classmethod
    def of(cls, engine: EngineConfig, published: Published | None = None) -> WeightChoice:
        """engine: with its method settled. published: the checkpoint that its weights are read
        from, if it is quantised."""
        return cls(
            engine.quant,
            engine.group_size,
            engine.quant_bits,
            engine.quant_head,
            engine.quant_activations,
            published and {name: layout.scheme for name, layout in published.layouts.items()},
        )

    def layer_format(self, model_dtype: str) -> WeightFormat:
        """Of the layers' maps; where they differ, of most that are quantised."""
        found = weight_format(self.method, model_dtype, self.bits)
        return _with_eight_bits(found) if self.activations == "int8" else found

    def layer_maps(self, model: ModelConfig, model_dtype: str) -> list[LayerMap]:
        """The linear maps of the layers. model: one device's share of it."""
        found: list[LayerMap] = []
        for name, (out_features, in_features) in model.layer_maps().items():
            for format, layers in self._formats(name, model, model_dtype).items():
                found.append(LayerMap(format, out_features, in_features, layers))
        return found

    def _formats(
        self, name: str, model: ModelConfig, model_dtype: str
    ) -> Mapping[WeightFormat, int]:
        """How many layers store their map of this name in each way."""
        if self.stored is None:
            return {self.layer_format(model_dtype): model.num_layers}
        modules = (f"{LAYERS}{layer}.{name}" for layer in range(model.num_layers))
        return Counter(self._stored_format(module, model_dtype) for module in modules)

    def head_format(self, model_dtype: str) -> WeightFormat:
        if self.stored and HEAD in self.stored:
            return self._stored_format(HEAD, model_dtype)
        return weight_format(head_method(self.method, self.head), model_dtype)

    def layer_ops(self, model: ModelConfig) -> tuple[str, ...]:
        """The operations that multiply by the layers' weights, in the order of their names."""
        if self.stored is not None:
            return tuple(sorted({self._stored_op(module) for module in model.map_shapes()}))
        if self.method == "none":
            return ("linear",)
        form = "int8" if self.bits == 8 else find_method(self.method).form
        return (op_of(form, self.activations),)

    def head_op(self) -> str:
        """The one that multiplies by the output projection's."""
        if self.stored and HEAD in self.stored:
            return self._stored_op(HEAD)
        method = head_method(self.method, self.head)
        return "linear" if method == "none" else op_of(find_method(method).form)

    def _stored_format(self, module: str, model_dtype: str) -> WeightFormat:
        assert self.stored is not None
        scheme = self.stored.get(module)
        if scheme is None:
            return weight_format("none", model_dtype)
        found = weight_format(scheme.method, model_dtype, scheme.bits)
        if found.group == 0:
            found = replace(found, group=scheme.group_size)
        elif found.group is None and scheme.group_size is not None:
            found = replace(found, group=scheme.group_size, scale_bytes=_GROUP_OF_8_BITS)
        takes = self.activations == "int8" and FORMS[scheme.form].eight_bit_op
        return _with_eight_bits(found) if takes else found

    def _stored_op(self, module: str) -> str:
        assert self.stored is not None
        scheme = self.stored.get(module)
        return "linear" if scheme is None else op_of(scheme.form, self.activations)


def _with_eight_bits(format: WeightFormat) -> WeightFormat:
    """Where activations are rounded to eight bits first."""
    return replace(format, name=f"{format.name}+a8", arithmetic=("int8",))


UNQUANTISED = WeightChoice()
