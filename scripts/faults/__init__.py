"""Faults made on purpose, in full, against real processes: the RF rows of docs/reliability.md."""
