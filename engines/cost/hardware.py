"""Hardware as data: peak rates by dtype, memory, links, each with its source. See hardware.yaml."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from ..errors import ConfigError, unknown_name

GIB = 2**30
DTYPES = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4")
_FILE = Path(__file__).with_name("hardware.yaml")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Link(_Part):
    """One device's way to others. gb_per_s: 10^9 bytes/s in one direction. latency_us: one hop."""

    gb_per_s: PositiveFloat
    latency_us: float = Field(ge=0)

    @property
    def bytes_per_s(self) -> float:
        return self.gb_per_s * 1e9

    @property
    def latency_s(self) -> float:
        return self.latency_us / 1e6


class Hardware(_Part):
    """One device. peak_tflops: dense, by dtype (a key of DTYPES); integer types count operations.

    link: between devices of a node; internode_link: between nodes; host_link: to the host's memory,
    for swapping. A link that is absent cannot be used: see `required_link`.
    step_overhead_ms: host time a step that the device waits for. graphs: whether decode steps are
    captured there, as on a GPU: then they take memory. sources: where figures are from.
    """

    name: str
    description: str = ""
    peak_tflops: dict[str, PositiveFloat] = Field(min_length=1)
    memory_gib: PositiveFloat
    memory_gb_per_s: PositiveFloat
    link: Link | None = None
    internode_link: Link | None = None
    host_link: Link | None = None
    step_overhead_ms: float = Field(ge=0)
    graphs: bool = True
    sources: dict[str, str] = Field(min_length=1)

    def peak_flops(self, dtype: str) -> float:
        """Operations a second. Raises ConfigError where the hardware does not compute `dtype`."""
        peak = self.peak_tflops.get(dtype)
        if peak is None:
            raise ConfigError(
                "dtype", dtype, f"what {self.name} computes: " + ", ".join(self.peak_tflops)
            )
        return peak * 1e12

    @property
    def memory_bytes(self) -> float:
        return self.memory_gib * GIB

    @property
    def memory_bytes_per_s(self) -> float:
        return self.memory_gb_per_s * 1e9

    @property
    def step_overhead_s(self) -> float:
        return self.step_overhead_ms / 1e3

    def required_link(self, field: str) -> Link:
        """The link `field` (link, internode_link or host_link), or a ConfigError that names it."""
        found = getattr(self, field)
        if found is None:
            raise ConfigError(
                f"hardware.{field}",
                None,
                f"gb_per_s and latency_us for {self.name}, which this simulation needs",
            )
        return found


@functools.cache
def known_hardware() -> Mapping[str, Hardware]:
    """Every device of hardware.yaml by name."""
    return _parse_file(_FILE)


def resolve_hardware(name_or_path: str | Path) -> Hardware:
    """A device of hardware.yaml by name, or the one device of a YAML file of the same form.

    Raises ConfigError: an unknown name (with the nearest spelling), a file that cannot be read, a
    field that is missing or wrong, a dtype nobody knows.
    """
    name = str(name_or_path)
    known = known_hardware()
    if name.lower() in known:
        return known[name.lower()]
    path = Path(name_or_path).expanduser()
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        error = unknown_name("hardware", name, known)
        raise ConfigError("hardware", name, f"{error.allowed}, or a YAML file", error.hint)
    devices = _parse_file(path)
    if len(devices) != 1:
        raise ConfigError("hardware", name, f"a file that describes one device, not {len(devices)}")
    return next(iter(devices.values()))


class _EachKeyOnce(yaml.SafeLoader):
    """Of a key that stands twice in a mapping, YAML would lose one of the values in silence."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line, name = key.start_mark.line + 1, key.value
                if name in lines:
                    raise ValueError(f"{name} twice, at line {lines[name]} and at line {line}")
                lines[name] = line
        return node


def _parse_file(path: Path) -> dict[str, Hardware]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _EachKeyOnce)
    except OSError as error:
        raise ConfigError("hardware", str(path), f"a readable file ({error.strerror})") from error
    except (yaml.YAMLError, ValueError) as error:  # the latter of a date that is none, too
        problem = " ".join(str(error).split())
        raise ConfigError("hardware", str(path), f"a YAML file ({problem})") from error
    except RecursionError:
        raise ConfigError("hardware", str(path), "a YAML file (nested too deeply)") from None
    if not isinstance(data, dict) or not all(isinstance(row, dict) for row in data.values()):
        raise ConfigError("hardware", str(path), "a YAML file that maps a name to its figures")
    return {str(name): _parse(str(name), row) for name, row in data.items()}


def _parse(name: str, row: dict[str, Any]) -> Hardware:
    try:
        hardware = Hardware.model_validate({"name": name, **row})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(("hardware", name, *map(str, first["loc"])))
        if first["type"] == "extra_forbidden":
            fields = [known for known in Hardware.model_fields if known != "name"]
            raise unknown_name(f"hardware.{name}", str(first["loc"][-1]), fields) from error
        given = None if first["type"] == "missing" else first["input"]
        raise ConfigError(field, given, f"another value: {first['msg']}") from error
    for dtype in hardware.peak_tflops:
        if dtype not in DTYPES:
            raise unknown_name(f"hardware.{name}.peak_tflops", dtype, DTYPES)
    return hardware
