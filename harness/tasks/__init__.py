"""Task scores: EleutherAI's lm-eval, with an engine as its model."""
