"""World-model families: one file each, with its config, its state and its class."""
