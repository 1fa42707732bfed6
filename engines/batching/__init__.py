"""What may share a step: one real scheduler's way a file. `presets.py` says which engine has which.

                     separate    unified          inflight         sarathi          static
prompts and decodes
  share a step       no          yes              yes              yes              no
first                prompts     running order    decodes          decodes          prompts
a prompt is cut      never      anywhere         at chunk units   anywhere         anywhere
room for a prompt    whole       by chunk         whole            whole            whole
blocks named when    computed    taken            computed         computed         computed
decode wants a
  spare block        yes         no               no               yes              no
makes room           last group  last of running  last of running  last of running  last of running
new ones after
  a preemption       no          no               of higher rank   yes              batch is closed

The last three rows are of optimistic admission: with a reservation nobody has to make room. Under
`inflight` whoever runs makes room for one who waits and ranks before them, too; and where it may
not cut prompts, it goes in running order.
"""
