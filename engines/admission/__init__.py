"""Who may start, and whether anybody is ever preempted; `presets.py` says which engine has which.

`optimistic` starts whoever fits now: memory may run out later, and then whoever is last makes room.
`reserve` starts only who can be held to the longest output asked for: nobody ever makes room.
"""
