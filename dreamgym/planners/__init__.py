"""Planners: what to do now, found by imagining what would follow; for any world model, batched over lanes."""
