"""Where keys and values live; `presets.py` says which engine has which.

`paged` hands out blocks one at a time and shares those of equal prefixes, `contiguous` sets a run
of slots aside when a sequence starts. Both keep books only: the tensors are the executor's.
"""
