"""A deterministic world for machines: virtual time, a bad network, processes that die, from one seed."""
