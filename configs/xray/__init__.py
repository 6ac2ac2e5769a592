"""Configurations of the chest X-ray benchmark; hydra composes them from here."""
