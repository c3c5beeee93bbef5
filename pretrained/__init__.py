"""The bundled dreams, one folder for each variant; imported as `dreamgym.pretrained`, which registers them."""

from __future__ import annotations

from pathlib import Path

from dreamgym.registry import register_dream

_HERE = Path(__file__).resolve().parent

register_dream(
    "DreamCarRacing-v0",
    variants={"vae_mdn_rnn": _HERE / "car_racing_vae_mdn_rnn"},
    real="CarRacing64-v0",
    max_episode_steps=250,
)
register_dream(
    "DreamDodge-v0",
    variants={"vae_mdn_rnn": _HERE / "dodge_vae_mdn_rnn"},
    real="Dodge-v0",
    max_episode_steps=300,
)
