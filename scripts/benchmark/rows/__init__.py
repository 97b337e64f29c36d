"""What a row does on a runtime: the same body for zgen and for Ray."""
