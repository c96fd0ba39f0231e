"""The reference twins: slow, obvious models that the fast simulator must agree with exactly."""
