"""The simulator: layers, machine, plans, the event engine, results. Neither torch nor matplotlib."""

from .arch_spec import ArchSpec, load_arch
from .archs import ARCHITECTURES
from .control import Control, Interrupted
from .datapath import DatapathError
from .energy import Energy, EnergyModel, EnergyTable
from .errors import InputError
from .layer import Layer
from .layer_csv import read_layers, shipped_layers, write_layers
from .machine import Machine
from .result import COLUMNS, LayerResult, Results, Total
from .simulate import simulate
from .verify import Verified, verify

__all__ = [
    "ARCHITECTURES",
    "COLUMNS",
    "ArchSpec",
    "Control",
    "DatapathError",
    "Energy",
    "EnergyModel",
    "EnergyTable",
    "InputError",
    "Interrupted",
    "Layer",
    "LayerResult",
    "Machine",
    "Results",
    "Total",
    "Verified",
    "load_arch",
    "read_layers",
    "shipped_layers",
    "simulate",
    "verify",
    "write_layers",
]
