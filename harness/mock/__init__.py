"""An OpenAI-compatible server with no model: it sends what it was told to, when it was told to, and
writes down what it truly sent. A client's counts and times are held against that."""
