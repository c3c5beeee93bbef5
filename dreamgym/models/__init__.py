"""World-model families, one a file; each implements `dreamgym.core.model.WorldModel`."""
