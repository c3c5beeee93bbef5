"""The functional core: pure functions over tensors and the interface that every world model implements."""
