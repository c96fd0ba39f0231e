"""Sweeps, tables, figures and benchmarks over the simulator."""
