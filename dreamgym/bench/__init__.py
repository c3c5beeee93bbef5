"""How fast a dream steps, in one run: every figure beside its limit and beside the real environment."""
