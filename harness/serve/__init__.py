"""An engine of this tree behind the OpenAI protocol, so that any client can measure it.

`app.py` is the protocol, `worker.py` the thread that owns the engine; `server.py` joins them.
"""
