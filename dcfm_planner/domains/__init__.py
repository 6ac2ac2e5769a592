"""Domains that ship with the planner; yours can live in any module (docs/own-domain.md)."""
