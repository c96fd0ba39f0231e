"""What docs/validation.md holds the simulator against: closed forms, published points, the paper's claims."""
