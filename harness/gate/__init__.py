"""Whether a change made serving worse: rules and baselines in, verdicts and an exit code out."""
