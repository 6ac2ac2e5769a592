"""All methods side by side on the planner: what is run for each, how it is compared, and the table that comes of it."""
