"""Policies that are trained inside a dream."""
