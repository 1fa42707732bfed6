"""An engine of this tree behind the OpenAI protocol, so that any client can measure it.

`app.py` is the protocol, `engine_process.py` the engine in a process of its own; `server.py` joins
them.
"""
