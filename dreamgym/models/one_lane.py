"""One step of an MDN-RNN in NumPy: with a single lane, calling torch's operators takes longer than their arithmetic."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_ONE = np.ones(1, np.float32)
_SQRT_HALF = np.float32(math.sqrt(0.5))


def one_lane_weights(dtype: torch.dtype, *weights: Tensor) -> list[np.ndarray]:
    """Return weights and biases of the LSTM and the heads as `one_lane_step` takes them: one tanh serves all gates."""
    lstm, lstm_bias, heads, heads_bias = (w.to(dtype).numpy() for w in weights)
    half = np.full((len(lstm), 1), 0.5, np.float32)
    half[3 * len(lstm) // 4 :] = 1  # sigmoid(x) = (1 + tanh(x / 2)) / 2, but the candidate is a tanh itself
    lstm = np.concatenate([lstm, lstm_bias[:, None]], 1) * half
    return [np.ascontiguousarray(lstm.T), np.ascontiguousarray(heads.T), heads_bias.copy()]


@np.errstate(over="ignore", invalid="ignore")  # a dream that diverges does so as silently as in torch
def one_lane_step(
    weights: list[np.ndarray], z: Tensor, h: Tensor, c: Tensor, action: Tensor, noise: Tensor, temperature: float
) -> tuple[tuple[Tensor, Tensor, Tensor], float, float]:
    """Return the next `z, h, c` and what the last two heads say, as `LSTMCell` and `sample_mixture` would.

    Args:
        weights: what `one_lane_weights` returned.
        z, h, c, action, noise, temperature: as `WorldModel.step` takes them, `[1, ...]` on the CPU.
    """
    lstm, heads, heads_bias = weights
    seen, last, before, act, normal = (x.numpy(force=True)[0] for x in (z, h, c, action, noise))
    width, hidden = len(seen), len(last)
    gates = np.concatenate((seen, act, last, _ONE)) @ lstm  # [4D]
    np.tanh(gates, gates)
    opening = gates[: 3 * hidden]
    opening += 1
    opening *= 0.5
    cell = gates[3 * hidden :] * opening[:hidden]
    cell += opening[hidden : 2 * hidden] * before
    memory = np.tanh(cell)
    memory *= opening[2 * hidden :]
    out = memory @ heads
    out += heads_bias

    third = len(out) // 3  # K * Z
    logits = out[:third].reshape(-1, width)
    if temperature != 1:
        logits = logits / np.float32(temperature)
    cumulative = np.add.accumulate(np.exp(logits - np.maximum.reduce(logits)))  # [K, Z]
    erf = np.array([math.erf(x) for x in (normal[:width] * _SQRT_HALF).tolist()], np.float32)
    index = np.add.reduce((erf + 1) * (0.5 * cumulative[-1]) > cumulative[:-1])  # [Z] component
    index *= width
    index += np.arange(third, third + width)
    latent = np.exp(out[index + third])
    latent *= normal[width:]
    if temperature != 1:
        latent *= math.sqrt(temperature)
    latent += out[index]
    after = torch.from_numpy(latent[None]), torch.from_numpy(memory[None]), torch.from_numpy(cell[None])
    return after, float(out[-2]), float(out[-1])
