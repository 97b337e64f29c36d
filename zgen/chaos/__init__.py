"""`zgen chaos`: faults made on purpose beside a user's program, and healed at the end."""
