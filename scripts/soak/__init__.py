"""The soak: mixed work on four nodes, a fault every few seconds, and a check of every item."""
