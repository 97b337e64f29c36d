"""The daemon's machines: pure."""
