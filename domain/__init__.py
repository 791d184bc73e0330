"""What is true in billing: pure rules over immutable facts; no I/O, clock, randomness or float."""
