"""Linear maps as other libraries store them, and what makes them: README.md."""
