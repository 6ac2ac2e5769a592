"""Configurations of the image benchmark; hydra composes them from here."""
