"""The load client: drives a server that speaks OpenAI's API, and says how wrong itself may be.

`config` what is asked; `servers` what each server is told; `bodies` the requests; `connection`,
`sse` and `reply` the way of the bytes; `drive` one event loop; `send` a plan on it; `processes`
several of them; `prepare` finds out what a run is made of; `run` makes a result of it; `checks`
says whether to believe it; `calibrate` measures the client itself.
"""
