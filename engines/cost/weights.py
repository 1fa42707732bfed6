"""What a weight costs: bytes read for it, and the dtype its product is computed in, by method."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ConfigError, unknown_name
from ..models.config import DTYPE_BYTES
from ..quantization.methods import METHODS, head_method
from .hardware import Hardware

if TYPE_CHECKING:
    from ..config import EngineConfig

# Short names of the dtypes of a config.json.
SHORT_DTYPE = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
ELEMENT_BYTES = {SHORT_DTYPE[name]: size for name, size in DTYPE_BYTES.items()}
DEFAULT_GROUP_SIZE = 128


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


@dataclass(frozen=True)
class WeightChoice:
    """How a model's linear maps are stored.

    method: none or a quantiser's. group_size: of a method that leaves it open; None: 128. bits: of
    a weight, where they are not the method's usual. head: of the output projection: none, int8,
    w8a8; auto: as the method has it. activations: int8 or, as the method has them, auto.
    """

    method: str = "none"
    group_size: int | None = None
    bits: int | None = None
    head: str = "auto"
    activations: str = "auto"

    @classmethod
    def of(cls, engine: EngineConfig) -> WeightChoice:
        """engine: with its method settled."""
        return cls(
            engine.quant,
            engine.group_size,
            engine.quant_bits,
            engine.quant_head,
            engine.quant_activations,
        )

    def layer_format(self, model_dtype: str) -> WeightFormat:
        found = weight_format(self.method, model_dtype, self.bits)
        if self.activations != "int8":
            return found
        return replace(found, name=f"{found.name}+a8", arithmetic=("int8",))

    def head_format(self, model_dtype: str) -> WeightFormat:
        return weight_format(head_method(self.method, self.head), model_dtype)


UNQUANTISED = WeightChoice()
