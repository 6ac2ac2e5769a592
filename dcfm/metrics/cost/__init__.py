"""Cost, measured: what methods send (Table 3) and evaluate (Table 4), each beside its formula."""
