"""Energy of an NVIDIA GPU by NVML, the driver's own library, which lies wherever its driver does.

Source: NVML API reference, nvmlDeviceGetTotalEnergyConsumption: millijoules since the driver was
loaded, of Volta and newer. It is called without a package between: three functions.
"""

from __future__ import annotations

import ctypes
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"
# nvmlReturn_t
_SUCCESS = 0
_PROBLEMS = {2: "the GPU is not known to it", 3: "not supported by this GPU", 4: "no permission"}


class NvmlMeter:
    """The whole board of one GPU: its memory and regulators included."""

    source = "NVML"

    def __init__(self, library: Any, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle
        self._start_mj = self._read_mj()

    @classmethod
    def of(cls, library: Any, uuid: str) -> NvmlMeter | str:
        """The GPU of that UUID, as torch knows it, whatever NVML's order; or why it has none."""
        handle = ctypes.c_void_p()
        name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        try:
            _check(library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle)))
            return cls(library, handle)
        except OSError as error:
            return f"NVML counts no energy here: {error}"

    def joules(self) -> dict[str, float]:
        """Since it was made."""
        return {"gpu": (self._read_mj() - self._start_mj) / 1e3}

    def _read_mj(self) -> int:
        energy_mj = ctypes.c_ulonglong()
        _check(
            self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(energy_mj))
        )
        return energy_mj.value


def open_nvml() -> Any:
    """The library, ready; or a text that says why not."""
    try:
        library = ctypes.CDLL(_LIBRARY)
        _check(library.nvmlInit_v2())
    except OSError as error:
        return f"NVML cannot be used here: {error}"
    return library


def _check(code: int) -> None:
    """Raises OSError for what NVML could not do."""
    if code != _SUCCESS:
        raise OSError(_PROBLEMS.get(code, f"NVML error {code}"))
