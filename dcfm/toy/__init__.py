"""The toy benchmark: mixtures of Gaussian modes in which attribute ``i`` moves coordinate ``i``, and some modes are
held by nobody (Section 4 of the paper, generalised to more attributes and silos)."""
