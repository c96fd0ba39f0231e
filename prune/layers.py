"""Which layers are pruned: all Conv2d, Linear and attention weights of a module, less those exempt by rule (R1, R2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from ..formats.errors import few
from .errors import PruneError
from .straight_through import MaskedWeight

STEM_CHANNELS = 4

# The weights of nn.MultiheadAttention, and what their layers are called.
_PROJECTIONS = ("in_proj", "q_proj", "k_proj", "v_proj")


@dataclass(frozen=True, kw_only=True)
class PrunableLayer:
    """A weight matrix that is pruned.

    Parameters
    ----------
    name : str
        The module's name; of attention that of the module and of the projection: "encoder.attention.in_proj".
    module_name, parameter : str
        Where the weight is: `model.get_submodule(module_name)`, its attribute `parameter`.
    shape : (int, int)
        S and K.
    weight_shape : tuple of int
        [S, C, kh, kw] or [S, K].
    kind : {"conv", "linear", "attention"}
    """

    name: str
    module_name: str
    parameter: str
    shape: tuple[int, int]
    weight_shape: tuple[int, ...]
    kind: str

    @property
    def weights(self) -> int:
        """S K."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True, kw_only=True)
class DenseLayer:
    """A weight that stays dense, and why.

    Parameters
    ----------
    name, module_name, parameter : str
        As of `PrunableLayer`.
    reason : str
        "stem", "depthwise", "grouped", "classifier" or "excluded".
    weights : int
        Its number; 0 if an earlier layer has counted the same Parameter.
    """

    name: str
    module_name: str
    parameter: str
    reason: str
    weights: int


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A weight of the module, before it is decided on."""

    name: str
    module_name: str
    parameter: str
    kind: str
    module: nn.Module
    weight: Tensor


def find_layers(
    model: nn.Module, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[tuple[PrunableLayer, ...], tuple[DenseLayer, ...]]:
    """The prunable layers and the dense ones, each in the order of `named_modules` (R2).

    Parameters
    ----------
    model : nn.Module
        Masked (parametrised) or not; the answer is the same.
    include : sequence of str
        Shell-style patterns (`fnmatch`, case matters) of layer names: pruned although exempt by rule.
    exclude : sequence of str
        Patterns of layers that stay dense. A layer that is exempt by rule as well keeps the rule as its reason.

    Raises
    ------
    PruneError
        A pattern names no layer; a layer is both included and excluded; an included convolution has groups;
        a prunable layer shares its weight with another module, or its weight is not a plain Parameter (computed by a
        parametrisation or a hook, as weight_norm's); a weight has no shape yet (lazy modules).
    """
    found = list(_weights(model))
    included = _named("include", include, found)
    excluded = _named("exclude", exclude, found)
    classifier = _last_linear(model)
    owners = _owners(model)
    prunable: list[PrunableLayer] = []
    dense: list[DenseLayer] = []
    counted: set[int] = set()
    for layer in found:
        if layer.name in included and layer.name in excluded:
            raise PruneError(f"layer '{layer.name}': matched by include and by exclude; must be one of them")
        rule = _exemption(layer, classifier)
        if layer.name in included:
            if rule in ("depthwise", "grouped"):
                raise PruneError(f"include names layer '{layer.name}': a convolution with groups cannot be pruned")
            rule = None
        reason = rule or ("excluded" if layer.name in excluded else None)
        if reason is None:
            check_plain(layer.module, layer.parameter, f"layer '{layer.name}'")
            _check_unshared(layer, owners, found)
            prunable.append(_prunable(layer))
            continue
        weights = 0 if id(_source(layer.module, layer.parameter)) in counted else layer.weight.numel()
        counted.add(id(_source(layer.module, layer.parameter)))
        dense.append(
            DenseLayer(
                name=layer.name,
                module_name=layer.module_name,
                parameter=layer.parameter,
                reason=reason,
                weights=weights,
            )
        )
    return tuple(prunable), tuple(dense)


def check_plain(module: nn.Module, parameter: str, what: str) -> None:
    """Refuse a parameter that is computed from others each time it is used; our own masks are no obstacle.

    Raises
    ------
    PruneError
        `what` begins the message.
    """
    if parametrize.is_parametrized(module, parameter):
        steps = module.parametrizations[parameter]  # type: ignore[index, union-attr]
        if not all(isinstance(step, MaskedWeight) for step in steps):  # type: ignore[union-attr]
            raise PruneError(f"{what}: its {parameter} is parametrised already; must be a plain Parameter")
    elif parameter not in dict(module.named_parameters(recurse=False, remove_duplicate=False)):
        raise PruneError(f"{what}: its {parameter} is computed by a hook; must be a plain Parameter")


def called_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """`named_modules` without the output projections of attention: it reads their weights, and never calls them."""
    inside_attention = {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    yield from ((name, module) for name, module in model.named_modules() if id(module) not in inside_attention)


def _weights(model: nn.Module) -> Iterator[_Found]:
    """Every weight of a Conv2d, Linear or attention module, in the order of named_modules."""
    for module_name, module in called_modules(model):
        if isinstance(module, nn.MultiheadAttention):
            prefix = f"{module_name}." if module_name else ""
            for projection in _PROJECTIONS:
                weight = getattr(module, f"{projection}_weight", None)
                if weight is not None:
                    yield _found(f"{prefix}{projection}", module_name, f"{projection}_weight", "attention", module)
            yield _found(f"{prefix}out_proj", f"{prefix}out_proj", "weight", "attention", module.out_proj)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            kind = "conv" if isinstance(module, nn.Conv2d) else "linear"
            yield _found(module_name or type(module).__name__, module_name, "weight", kind, module)


def _found(name: str, module_name: str, parameter: str, kind: str, module: nn.Module) -> _Found:
    weight = _source(module, parameter)
    if is_lazy(weight):
        raise PruneError(f"layer '{name}' has no shape yet: run one batch through the model first")
    return _Found(name=name, module_name=module_name, parameter=parameter, kind=kind, module=module, weight=weight)


def _named(option: str, patterns: Sequence[str], found: Sequence[_Found]) -> set[str]:
    """Names of the layers that the patterns match; each must match one."""
    names: set[str] = set()
    for pattern in patterns:
        matched = {layer.name for layer in found if fnmatchcase(layer.name, pattern)}
        if not matched:
            known = few([layer.name for layer in found])
            raise PruneError(f"{option} pattern {pattern!r}: must name a layer, of {known or 'which there are none'}")
        names |= matched
    return names


def _last_linear(model: nn.Module) -> nn.Module | None:
    linear = [layer.module for layer in _weights(model) if layer.kind == "linear"]
    return linear[-1] if linear else None


def _exemption(layer: _Found, classifier: nn.Module | None) -> str | None:
    if isinstance(layer.module, nn.Conv2d):
        if layer.module.groups > 1:
            return "depthwise" if layer.module.groups == layer.module.in_channels else "grouped"
        return "stem" if layer.module.in_channels <= STEM_CHANNELS else None
    return "classifier" if layer.module is classifier else None


def _source(module: nn.Module, parameter: str) -> Tensor:
    """The Parameter itself, behind a parametrisation if there is one."""
    lists = getattr(module, "parametrizations", {})
    if parameter in lists:
        return getattr(lists[parameter], "original", getattr(module, parameter))
    return getattr(module, parameter)


def _owners(model: nn.Module) -> dict[int, list[str]]:
    """Names under which each Parameter is held, by its id, those of one module counted once."""
    owners: dict[int, list[str]] = {}
    for module_name, module in model.named_modules():
        for parameter, tensor in module.named_parameters(recurse=False, remove_duplicate=False):
            owners.setdefault(id(tensor), []).append(f"{module_name}.{parameter}".lstrip("."))
    return owners


def _check_unshared(layer: _Found, owners: dict[int, list[str]], found: Sequence[_Found]) -> None:
    source = _source(layer.module, layer.parameter)
    if len(owners.get(id(source), ())) < 2:
        return
    other = next((o.name for o in found if o is not layer and _source(o.module, o.parameter) is source), None)
    if other is not None:
        raise PruneError(f"layer '{layer.name}' shares its weight with '{other}': exclude both")
    held = next(name for name in owners[id(source)] if name != f"{layer.module_name}.{layer.parameter}".lstrip("."))
    raise PruneError(f"layer '{layer.name}' shares its weight with '{held}': exclude it")


def _prunable(layer: _Found) -> PrunableLayer:
    shape = tuple(layer.weight.shape)
    return PrunableLayer(
        name=layer.name,
        module_name=layer.module_name,
        parameter=layer.parameter,
        shape=(shape[0], math.prod(shape[1:])),
        weight_shape=shape,
        kind=layer.kind,
    )
