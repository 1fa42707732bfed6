"""Evidence that takes longer than a test may, or a quiet machine: commands, and what they print is
what `docs/gate.md` records."""
