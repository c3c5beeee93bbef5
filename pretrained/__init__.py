"""The bundled dreams, one folder for each variant; imported as `dreamgym.pretrained`, which registers them."""

from __future__ import annotations

from pathlib import Path

from dreamgym.registry import register_dream

_HERE = Path(__file__).resolve().parent

register_dream(
    "DreamCarRacing-v0",
    variants={"rssm": _HERE / "car_racing_rssm", "vae_mdn_rnn": _HERE / "car_racing_vae_mdn_rnn"},
    real="CarRacing64-v0",
    max_episode_steps=250,
)
register_dream(
    "DreamDodge-v0",
    variants={"vae_mdn_rnn": _HERE / "dodge_vae_mdn_rnn", "rssm": _HERE / "dodge_rssm"},
    real="Dodge-v0",
    max_episode_steps=300,
)
register_dream(
    "DreamCartPole-v0",
    variants={"mlp_ensemble": _HERE / "cart_pole_mlp_ensemble", "rssm": _HERE / "cart_pole_rssm"},
    real="CartPole-v1",
    max_episode_steps=500,
)
register_dream(
    "DreamPendulum-v0",
    variants={"rssm": _HERE / "pendulum_rssm"},
    real="Pendulum-v1",
    max_episode_steps=200,
)
register_dream(
    "DreamDoomTakeCover-v0",
    variants={"rssm": _HERE / "take_cover_rssm"},
    real="DoomTakeCover-v0",
    max_episode_steps=525,
)
