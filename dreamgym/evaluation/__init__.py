"""How far a dream can be trusted: transfer to the real environment, fidelity, reports."""
