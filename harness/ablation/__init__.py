"""A factorial of engine settings: which setting moved what, and through which mechanism."""
