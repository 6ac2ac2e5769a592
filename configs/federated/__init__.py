"""Tasks of a federation; hydra composes them from here."""
