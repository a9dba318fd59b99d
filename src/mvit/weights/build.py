"""A model from its configuration: ours, or another library's that is trained beside it."""

from collections.abc import Mapping
from typing import Any

from mvit.baselines.sized import Baseline
from mvit.baselines.sizes import BaselineConfig
from mvit.model.config import MViTConfig
from mvit.model.mvit import MViT

Config = MViTConfig | BaselineConfig
Model = MViT | Baseline
"""Modules from clips to logits, with their ``config``: all that training, evaluation and prediction need."""


def build(config: Config) -> Model:
    """The model, freshly initialised; raises ``ValueError`` where its library is not installed."""
    return Baseline(config) if isinstance(config, BaselineConfig) else MViT(config)


def config_from(values: Mapping[str, Any]) -> Config:
    """The configuration that ``to_dict`` of either kind gave."""
    return BaselineConfig.from_dict(values) if "baseline" in values else MViTConfig.from_dict(values)
