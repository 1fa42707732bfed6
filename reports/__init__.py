"""What a run found, said to a reader: HTML, Markdown and figures from the same data."""
