"""Other tools' formats: what a run is written as, and what can be read."""
