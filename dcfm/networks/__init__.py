"""Networks that more than one domain uses; each a velocity field."""
