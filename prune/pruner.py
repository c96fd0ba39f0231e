"""CrispPruner: the algorithm on a model, iteration by iteration (docs/pruning.md; paper, Algorithm 1).

    pruner = CrispPruner(model, CrispConfig(sparsity=0.9, steps=5))
    pruner.prepare()
    while not pruner.finished:
        ...fine-tune...
        model.eval()
        pruner.begin_scoring()
        for images, labels in batches:
            loss(model(images), labels).backward()
            pruner.accumulate(len(labels))
        pruner.step(optimizer)
    ...fine-tune...
    masks = pruner.finalize()

With DDP the pruner gets the bare model, each process scores its share of the batches on it (not through the wrapper,
which would average gradients), and `step` adds the shares up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from .config import CrispConfig
from .errors import PruneError
from .gradients import GradientSums, check_learns
from .layers import DenseLayer, PrunableLayer, check_plain, find_layers
from .masks import LayerMasks, LayerScores, block_mask, generate, nothing_pruned, score, target
from .matrix import from_matrix, to_matrix
from .processes import check_same
from .pruner_state import restore, state
from .reachable import check_reachable
from .report import PruneReport, report
from .straight_through import MaskedWeight, attach, detach, original


@dataclass(frozen=True)
class PrunedLayer(LayerMasks):
    """The masks of a layer.

    Parameters
    ----------
    nm : Tensor, bool, shape (S, K)
        What N:M keeps, in pruned blocks as well.
    pruned : Tensor, bool, shape (R, C), or None
        Pruned blocks; None for a layer without blocks.
    mask : Tensor, bool, shape (S, K)
        What is kept in the end.
    """

    mask: Tensor


class CrispPruner:
    """Prunes a model with Conv2d, Linear and attention layers.

    Parameters
    ----------
    model : nn.Module
        The bare module, not a DDP wrapper. Changed in place.
    config : CrispConfig
    optimizer : Optimizer, optional
        Whose momentum is set to 0 in pruned blocks; may be set later (`pruner.optimizer`), or given to `step`. One made
        before `prepare` stays valid: the Parameters are the same objects.

    Attributes
    ----------
    layers : tuple of PrunableLayer
    dense : tuple of DenseLayer
    iteration : int
        p, the iterations done.

    Raises
    ------
    PruneError
        What `find_layers` refuses, or a wrapped model.
    """

    layers: tuple[PrunableLayer, ...]
    dense: tuple[DenseLayer, ...]

    def __init__(self, model: nn.Module, config: CrispConfig, *, optimizer: Optimizer | None = None) -> None:
        if isinstance(model, (DistributedDataParallel, DataParallel)):
            raise PruneError(f"model of type {type(model).__name__}: must be the module it wraps, `.module`")
        self.model = model
        self.config = config
        self.optimizer = optimizer
        self.layers, self.dense = find_layers(model, config.include, config.exclude)
        self.iteration = 0
        self._masks = [_nothing_masked(layer, config.block, self._weight(layer).device) for layer in self.layers]
        self._masked: list[MaskedWeight] = []
        self._gradients: GradientSums | None = None
        self._stage = "new"

    @property
    def finished(self) -> bool:
        """All iterations are done, or there is nothing to prune."""
        return self.config.dense or self.iteration >= self.config.steps

    def prepare(self) -> None:
        """Put masks on the prunable weights; nothing is pruned yet.

        Raises
        ------
        PruneError
            The sparsity cannot be reached (R12); a weight is parametrised already, or takes no gradient though the
            criterion needs one; or the model was prepared before.
        """
        if self._stage != "new":
            raise PruneError("prepare(): must be called once")
        check_reachable(self.layers, self.config)
        for layer in self.layers:
            module = self.model.get_submodule(layer.module_name)
            if parametrize.is_parametrized(module, layer.parameter):
                raise PruneError(f"layer '{layer.name}': its weight is parametrised already; must be a plain Parameter")
            check_plain(module, layer.parameter, f"layer '{layer.name}'")
            if not self.config.dense:
                check_learns(layer.name, self._weight(layer), self.config.criterion)
        for layer in self.layers:
            module = self.model.get_submodule(layer.module_name)
            self._masked.append(attach(module, layer.parameter, self.config.sr_ste))
        self._stage = "prepared"

    def begin_scoring(self) -> None:
        """Begin a scoring pass: gradients are cleared and added up anew; SR-STE's term is left out until `step`.

        The caller puts the model in eval mode and runs forward and backward in full precision (R4).

        Raises
        ------
        PruneError
            Out of turn, or a prunable weight takes no gradient.
        """
        self._check_open("begin_scoring")
        weights = {layer.name: self._weight(layer) for layer in self.layers}
        self._gradients = GradientSums(weights, self.config.criterion)
        self._set_scoring(True)
        self.model.zero_grad(set_to_none=True)

    def accumulate(self, batch_size: int) -> None:
        """Take the gradients of a batch, after `backward()` of a loss that is the mean over `batch_size` samples.

        The gradients of the whole model are cleared.

        Raises
        ------
        PruneError
            Without `begin_scoring`, or the size is not a positive integer.
        """
        if self._gradients is None:
            raise PruneError("accumulate(): must follow begin_scoring()")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise PruneError(f"accumulate({batch_size!r}): must be the number of samples of the batch, at least 1")
        self._gradients.add(batch_size)
        self.model.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self, optimizer: Optimizer | None = None) -> None:
        """Do one iteration: scores, masks, zeros in pruned blocks (R5 to R11); after the last one N:M is frozen (R13).

        Parameters
        ----------
        optimizer : Optimizer, optional
            Instead of the pruner's own.

        Raises
        ------
        PruneError
            Out of turn; no gradients though the criterion needs them; a score is not finite; processes disagree. The
            pruner and the model are then as before, but for the scoring pass, which must be done again.
        """
        self._check_open("step")
        gradients, self._gradients = self._gradients, None
        self._set_scoring(False)
        if self.config.dense:
            self.iteration = min(self.iteration + 1, self.config.steps)
            return
        masks = self._generate(gradients)
        halves = [half for mask in masks for half in (mask.nm, mask.pruned) if half is not None]
        check_same("masks", halves, masks[0].nm.device)
        self.iteration += 1
        self._masks = masks
        self._put_masks()
        self._zero_pruned_blocks(optimizer if optimizer is not None else self.optimizer)

    def finalize(self) -> dict[str, Tensor]:
        """Take the masks off: weights are exactly 0 where pruned. Training on afterwards would fill the zeros in.

        Returns
        -------
        dict of str to Tensor, bool, shape (S, K)
            What was kept, by layer name.
        """
        self._check_prepared("finalize")
        for layer in self.layers:
            detach(self.model.get_submodule(layer.module_name), layer.parameter)
        self._masked.clear()
        self._gradients = None
        self._stage = "finalized"
        return {name: pruned.mask for name, pruned in self.masks().items()}

    def masks(self) -> dict[str, PrunedLayer]:
        """The masks of each prunable layer, by name, in order; nothing pruned before the first iteration."""
        block = self.config.block
        return {
            layer.name: PrunedLayer(masks.nm, masks.pruned, masks.kept(block))
            for layer, masks in zip(self.layers, self._masks, strict=True)
        }

    def report(self) -> PruneReport:
        """Sparsity of every layer and of the prunable weights; at any time."""
        return report(self.config, self.iteration, self.layers, self._masks, self.dense)

    def set_gradient_scale(self, scale: float) -> None:
        """Say what the loss is multiplied by (`GradScaler.get_scale()`), for SR-STE's term to be scaled alike."""
        for masked in self._masked:
            masked.gradient_scale = scale

    def state_dict(self) -> dict[str, Any]:
        """Configuration, iteration and masks: tensors on the CPU and plain Python, for `torch.load(weights_only=True)`.

        A scoring pass that is under way is not part of it.
        """
        return state(self.config, self.iteration, self.layers, self._masks)

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a state. The model's weights come with its own `state_dict`.

        Raises
        ------
        PruneError
            The state is of another configuration or of other layers, or not a pruner's; nothing is changed.
        """
        self._check_prepared("load_state_dict")
        iteration, masks = restore(saved, self.config, self.layers)
        self.iteration = iteration
        self._masks = [_to(mask, self._weight(layer).device) for layer, mask in zip(self.layers, masks, strict=True)]
        self._gradients = None
        self._set_scoring(False)
        self._put_masks()

    def _weight(self, layer: PrunableLayer) -> nn.Parameter:
        """The dense weight of a layer, masked or not."""
        module = self.model.get_submodule(layer.module_name)
        if parametrize.is_parametrized(module, layer.parameter):
            return original(module, layer.parameter)
        return getattr(module, layer.parameter)

    def _check_prepared(self, method: str) -> None:
        if self._stage != "prepared":
            when = "follow prepare()" if self._stage == "new" else "come before finalize()"
            raise PruneError(f"{method}(): must {when}")

    def _check_open(self, method: str) -> None:
        self._check_prepared(method)
        if self.finished and not self.config.dense:
            raise PruneError(f"{method}(): all {self.config.steps} iterations are done")

    def _generate(self, gradients: GradientSums | None) -> list[LayerMasks]:
        """R5 to R11, for the iteration that comes next."""
        criterion, config = self.config.criterion, self.config
        if gradients is None and criterion != "magnitude":
            raise PruneError(f"step(): criterion {criterion} needs gradients: begin_scoring() and accumulate() first")
        averages = gradients.averages() if gradients is not None else {}
        scores = []
        for layer, mask in zip(self.layers, self._masks, strict=True):
            of_weights = score(self._weight(layer), averages.get(layer.name), criterion)
            scores.append(LayerScores(layer.name, to_matrix(of_weights), mask.pruned))
        kappa_p = target(config.kappa, config.kappa_0, self.iteration + 1, config.steps, config.schedule)
        return generate(scores, nm=config.nm, block=config.block, target=kappa_p, normalise=config.normalise)

    def _put_masks(self) -> None:
        """Let the model's weights follow the masks; N:M holds the gradient back only once it is frozen."""
        for layer, masks, masked in zip(self.layers, self._masks, self._masked, strict=True):
            kept = masks.kept(self.config.block)
            learns = kept if self.finished else self._kept_blocks(layer, masks)
            masked.set_masks(from_matrix(kept, layer.weight_shape), from_matrix(learns, layer.weight_shape))

    def _kept_blocks(self, layer: PrunableLayer, masks: LayerMasks) -> Tensor:
        """M_block: bool [S, K]."""
        if masks.pruned is None or self.config.block is None:
            return torch.ones_like(masks.nm)
        return block_mask(masks.pruned, layer.shape, self.config.block)

    def _zero_pruned_blocks(self, optimizer: Optimizer | None) -> None:
        """R11: weights and what the optimizer remembers of them, of whatever kind, are 0 in pruned blocks."""
        for layer, masks in zip(self.layers, self._masks, strict=True):
            if masks.pruned is None or not masks.pruned.any():
                continue
            weight = self._weight(layer)
            lost = ~from_matrix(self._kept_blocks(layer, masks), layer.weight_shape).to(weight.device)
            weight.masked_fill_(lost, 0)
            remembered = optimizer.state[weight] if optimizer is not None and weight in optimizer.state else {}
            for value in remembered.values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    value.masked_fill_(lost, 0)

    def _set_scoring(self, scoring: bool) -> None:
        for masked in self._masked:
            masked.scoring = scoring


def _nothing_masked(layer: PrunableLayer, block: int | None, device: torch.device) -> LayerMasks:
    nm = torch.ones(layer.shape, dtype=torch.bool, device=device)
    return LayerMasks(nm, nothing_pruned(*layer.shape, block, device))


def _to(masks: LayerMasks, device: torch.device) -> LayerMasks:
    return LayerMasks(masks.nm.to(device), None if masks.pruned is None else masks.pruned.to(device))
