"""The layers of a model as it runs: one forward pass, seen through hooks.

Conv2d, Linear and nn.MultiheadAttention have weights that multiply activations; the other layers with such weights
(transposed and 1-D convolutions, recurrent layers) are told of and left out. Products of two activations, as in
attention, have no weights. A Linear's weight may also be used without calling the module, as Swin's attention does:
`torch.nn.functional.linear` is watched for that.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from ...formats.errors import few
from ..errors import PruneError
from ..layers import called_modules
from .sample import SampleKind, sample_input
from .traced_layer import TracedLayer, convolution, gemm

_KINDS = (nn.Conv2d, nn.Linear, nn.MultiheadAttention)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_OTHERS = (*_CONVOLUTIONS, nn.RNNBase, nn.RNNCellBase, nn.Bilinear)


def trace_layers(
    model: nn.Module,
    example: Tensor,
    *,
    sample: SampleKind | None = None,
    notice: Callable[[str], None] | None = None,
) -> tuple[TracedLayer, ...]:
    """The layers that one forward pass calls, in the order of their first call.

    Parameters
    ----------
    model : nn.Module
        Run in eval mode, without gradients; its modes are restored. Masked (parametrised) weights make no difference.
    example : Tensor, (1, ...)
        One input; on the meta device if the model is.
    sample : {"mask", "int8"}, optional
        Also keep the first call's input of each layer: where it is not zero, or its values.
    notice : callable, optional
        Called with a line for what is left out or not as it seems: modules never called, layers of other kinds.

    Raises
    ------
    PruneError
        The example is no batch of one, the model does not run on it or calls no layer, a layer is called with inputs
        of different sizes, or its padding differs between the sides.
    """
    size = "x".join(map(str, example.shape))
    if example.ndim < 2 or example.shape[0] != 1:
        raise PruneError(f"example of shape {size or 'none'}: must be a batch of one, such as 1x3x224x224")
    trace = _Trace(sample)
    with _one_pass(model), parametrize.cached(), trace.hooked(model), _Functional(trace, model):
        try:
            model(example)
        except PruneError:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise PruneError(f"example of shape {size}: the model does not run on it: {said}") from error
    if not trace.layers:
        raise PruneError(f"example of shape {size}: the model calls no Conv2d, Linear or MultiheadAttention")
    if notice:
        for line in trace.notices(model):
            notice(line)
    return tuple(trace.layers.values())


def check_called(traced: Iterable[TracedLayer], names: Iterable[str]) -> None:
    """Refuse layers that are to be pruned and never run: a packed file could not hold them.

    Raises
    ------
    PruneError
        Some of these names are not among the layers traced.
    """
    called = {layer.name for layer in traced}
    idle = [name for name in names if name not in called]
    if idle:
        raise PruneError(f"layers never called in a forward pass ({len(idle)}): {few(idle)}: must be excluded")


@contextmanager
def _one_pass(model: nn.Module) -> Iterator[None]:
    """Eval mode, no gradients, and none of the transformers' fast paths, which call no submodules."""
    modes = [(module, module.training) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        model.eval()
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes:
            module.training = training


def _class(module: nn.Module) -> str:
    """Name of its class, with masks in place or not."""
    return type(module).__name__.removeprefix("Parametrized")


class _Functional(TorchFunctionMode):
    """Tells a trace of linear products with a Linear's weight that are made outside the module."""

    def __init__(self, trace: _Trace, model: nn.Module) -> None:
        super().__init__()
        self._trace = trace
        # Masked weights are the same tensor at each use while `parametrize.cached` is in force.
        linear = [(name, module) for name, module in called_modules(model) if isinstance(module, nn.Linear)]
        self._owners = {id(module.weight): (name, module) for name, module in linear}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.linear:
            given, weight = (*args, *(kwargs[key] for key in ("input", "weight") if key in kwargs))[:2]
            name, module = self._owners.get(id(weight), ("", None))
            if module is not None and module not in self._trace.inside:
                self._trace.linear(name, module, given)
        return func(*args, **kwargs)


class _Trace:
    """What the hooks have seen."""

    def __init__(self, sample: SampleKind | None) -> None:
        self.sample: SampleKind | None = sample
        self.layers: dict[str, TracedLayer] = {}
        self.called: set[nn.Module] = set()
        self.inside: list[nn.Module] = []  # Linear modules that are running
        self.others: list[str] = []
        self.padded: list[str] = []

    @contextmanager
    def hooked(self, model: nn.Module) -> Iterator[None]:
        handles = []
        try:
            for name, module in called_modules(model):
                if isinstance(module, (*_KINDS, *_OTHERS)):
                    hook = self._hook(name, module)
                    handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
                if isinstance(module, nn.Linear):
                    handles.append(module.register_forward_hook(self._leave, always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def notices(self, model: nn.Module) -> Iterator[str]:
        known = [(name, module) for name, module in called_modules(model) if isinstance(module, _KINDS)]
        idle = [name for name, module in known if module not in self.called]
        for what, names in (
            ("never called, left out", idle),
            ("neither Conv2d, Linear nor MultiheadAttention, left out", self.others),
            ("padded with other values than zeros, taken as zeros", self.padded),
        ):
            if names:
                yield f"{what} ({len(names)}): {few(names)}"

    def _hook(self, name: str, module: nn.Module) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple, kwargs: dict) -> None:
            first = module not in self.called
            self.called.add(module)
            if isinstance(module, nn.MultiheadAttention):
                self._attention(name, module, args, kwargs)
            elif isinstance(module, nn.Conv2d):
                self._convolution(name, module, args[0] if args else kwargs["input"], first)
            elif isinstance(module, nn.Linear):
                self.inside.append(module)
                self.linear(name, module, args[0] if args else kwargs["input"])
            elif first:
                self.others.append(f"{name or 'the model'} ({_class(module)})")

        return hook

    def _leave(self, module: nn.Module, *_: Any) -> None:
        self.inside.remove(module)

    def linear(self, name: str, module: nn.Linear, given: Tensor) -> None:
        """Note a product with a Linear's weight."""
        self.called.add(module)
        self._gemm(name or _class(module), name, "weight", module.out_features, [given])

    def _convolution(self, name: str, module: nn.Conv2d, given: Tensor, first: bool) -> None:
        layer = convolution(name or _class(module), name, module, tuple(given.shape))
        if first and module.padding_mode != "zeros" and any(layer.padding):
            self.padded.append(f"{layer.name} ({module.padding_mode})")
        one = given[0] if given.ndim == 4 else given
        self._add(layer, one.permute(1, 2, 0))

    def _attention(self, name: str, module: nn.MultiheadAttention, args: tuple, kwargs: dict) -> None:
        dot = f"{name}." if name else ""
        given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        query, key, value = given["query"], given["key"], given["value"]
        width = module.embed_dim
        if module.in_proj_weight is not None:
            inputs = [query] if query is key is value else [query, key, value]
            self._gemm(f"{dot}in_proj", name, "in_proj_weight", 3 * width, inputs)
        else:
            for letter, one in (("q", query), ("k", key), ("v", value)):
                self._gemm(f"{dot}{letter}_proj", name, f"{letter}_proj_weight", width, [one])
        self._add(gemm(f"{dot}out_proj", f"{dot}out_proj", "weight", width, width, query.numel() // width), None)

    def _gemm(self, name: str, module_name: str, parameter: str, rows: int, inputs: list[Tensor]) -> None:
        columns = inputs[0].shape[-1]
        tokens = [one.numel() // columns for one in inputs]
        if len(set(tokens)) > 1:
            said = ", ".join(map(str, tokens))
            rule = "must be equally many, for one matrix"
            raise PruneError(f"layer {name!r}: query, key and value of {said} tokens: {rule}")
        layer = gemm(name, module_name, parameter, rows, columns, tokens[0])
        self._add(layer, inputs[0].reshape(tokens[0], 1, columns) if len(inputs) == 1 else None)

    def _add(self, layer: TracedLayer, given: Tensor | None) -> None:
        """Note a call, with its input (height, width, channels) if that can be seen."""
        before = self.layers.get(layer.name)
        if before is None:
            kept: np.ndarray | None = None
            if self.sample is not None and given is not None:
                kept = sample_input(layer.name, given, self.sample)
            self.layers[layer.name] = dataclasses.replace(layer, sample=kept)
            return
        if dataclasses.replace(before, calls=1) != layer:
            raise PruneError(
                f"layer {layer.name!r}: called with inputs of {before.input_size} and of {layer.input_size} "
                f"(height x width x channels x batch): must be of one size"
            )
        self.layers[layer.name] = dataclasses.replace(before, calls=before.calls + 1)
