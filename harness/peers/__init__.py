"""Other engines beside ours, on the same weights, requests and cores.

`workload.py` says what is asked of everyone, `figures.py` what is read from the times that tokens
came, `rounds.py` takes turns and keeps every measurement, `table.py` shows them. One file a peer
(`llama_cpp.py`, `vllm_cpu.py`, `transformers_cb.py`, `own.py`) says how it is started and with
which settings; `install.py` how it gets here; `session.py` makes one comparison of it all.
"""
