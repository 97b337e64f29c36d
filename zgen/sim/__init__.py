"""A deterministic world for machines: virtual time, a bad network, deaths, from one seed."""
