"""How the groups of a categorical latent are drawn so that they agree with each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dreamgym.core.perceptron import ACTIVATIONS
from dreamgym.models.packed import PackedLinear


class Coupling(nn.Module):
    """Corrects logits that hold all groups apart by what was drawn before.

    Groups are drawn in blocks, one block after the other. A perceptron per block, save the first, reads what the prior
    makes of the memory and all that the blocks before drew, and adds to the logits of its own block; new ones add 0.

    Args:
        input_dim: H, width of what is read of the memory.
        groups: G, a multiple of `draws`.
        classes: K.
        draws: N, how many blocks.
        hidden_dim: width of each perceptron's hidden layer.
        activation: of that layer, one of `ACTIVATIONS`.

    Source: the chain rule of probability, with perceptrons as in NADE (Larochelle & Murray 2011).
    """

    def __init__(self, input_dim: int, groups: int, classes: int, draws: int, hidden_dim: int, activation: str) -> None:
        super().__init__()
        self.shape = (draws, classes, groups // draws)  # of a latent in the order of draws
        width = classes * groups // draws
        self.listen = PackedLinear(input_dim, (draws - 1) * hidden_dim)  # one product for all of the perceptrons
        self.read = nn.ModuleList(PackedLinear(n * width, hidden_dim) for n in range(1, draws))
        self.say = nn.ModuleList(PackedLinear(hidden_dim, width) for _ in range(1, draws))
        self.activation = ACTIVATIONS[activation]()
        for layer in self.say:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, logits: Tensor, hidden: Tensor, stoch: Tensor) -> Tensor:
        """Return the logits `[B, Z]` that each group has once the blocks before have been drawn as in `stoch`.

        Args:
            logits: `[B, Z]` of groups that are held apart, `[K, G]` flattened.
            hidden: `[B, H]`, what is read of the memory.
            stoch: `[B, Z]` one-hots, `[K, G]` flattened.
        """
        drawn = self._by_draw(stoch).flatten(2).unbind(1)  # [B, Z / N] each
        return self.draw(logits, hidden, lambda n, _: drawn[n])[1]

    def draw(self, logits: Tensor, hidden: Tensor, choose: Callable[[int, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return what block after block is drawn, one-hots `[B, Z]`, and the logits `[B, Z]` that it was drawn from.

        Args:
            logits, hidden: as in `forward`.
            choose: returns a block's one-hots `[B, Z / N]`, `[K, G / N]` flattened, given its number and its logits.
        """
        first, *others = self._by_draw(logits).flatten(2).unbind(1)
        heard = self.listen(hidden).chunk(len(others), 1)
        beliefs, before = [first], choose(0, first)
        for n, (belief, known, read, say) in enumerate(zip(others, heard, self.read, self.say, strict=True), 1):
            beliefs.append(belief + say(self.activation(known + read(before))))
            before = torch.cat([before, choose(n, beliefs[-1])], 1)
        return self._by_class(before), self._by_class(torch.cat(beliefs, 1))

    def _by_draw(self, x: Tensor) -> Tensor:
        """Return `[B, N, K, G / N]` of `[K, G]` flattened."""
        draws, classes, each = self.shape
        return x.view(-1, classes, draws, each).transpose(1, 2)

    def _by_class(self, x: Tensor) -> Tensor:
        """Return `[B, Z]`, `[K, G]` flattened, of the blocks one after the other."""
        return x.view(-1, *self.shape).transpose(1, 2).flatten(1)
