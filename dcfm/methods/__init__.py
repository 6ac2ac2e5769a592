"""The methods of the paper, its baselines and two further arms, each in a file of its own, behind one registry."""
