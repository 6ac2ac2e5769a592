"""Metrics: each with its definition, its n, and an interval."""
