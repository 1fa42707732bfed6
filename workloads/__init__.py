"""What arrives: when requests are due, how long they are, and which words they hold.

`api` has the types and `plan_workload`, `builtin` the workloads that exist with no file at hand,
`overrides` what a command line may change, `spec` the YAML format.
"""
