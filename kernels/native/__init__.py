"""CPU kernels in C++, compiled when they are first asked for. `build.py` says how."""
