"""A model by name or configuration, with or without trained weights."""

import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, overload

from mvit.model.config import MViTConfig
from mvit.model.features import FeaturesOnly
from mvit.model.mvit import MViT
from mvit.model.presets import get_config, nearest
from mvit.weights import hub
from mvit.weights.fit import Inflation, check_inflation, fit
from mvit.weights.read import CheckpointError, read


@overload
def create_model(
    name_or_config: str | MViTConfig,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    inflate: Inflation | None = None,
    features_only: Literal[False] = False,
    **config_fields: Any,
) -> MViT:
    """The whole model."""


@overload
def create_model(
    name_or_config: str | MViTConfig,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    inflate: Inflation | None = None,
    features_only: Literal[True],
    **config_fields: Any,
) -> FeaturesOnly:
    """The pyramid alone."""


def create_model(
    name_or_config: str | MViTConfig,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    inflate: Inflation | None = None,
    features_only: bool = False,
    **config_fields: Any,
) -> MViT | FeaturesOnly:
    """A model in evaluation mode if it has weights, else freshly initialised.

    ``weights`` is a run folder, a checkpoint in any dialect, or the name of weights published for the preset, such as
    ``"k400"`` (``mvit info NAME`` lists them), which are downloaded once and bring their number of classes; positions
    of another size are interpolated and a head of other classes starts anew, with a warning that names them, what is
    not finite, and what a file that describes itself says otherwise than the configuration.
    ``inflate`` ("centre", "repeat" or "mean") lets a model for clips start from an image model's weights.
    ``features_only`` gives the pyramid without the head, with its ``feature_info``, as timm's models do. Other
    keywords replace fields of the configuration.
    Raises ``ValueError`` for an unknown name or field (the nearest is named) and for weights that do not fit, and
    ``OSError`` for those that cannot be read or downloaded.
    """
    config = get_config(name_or_config) if isinstance(name_or_config, str) else name_or_config
    known = [field.name for field in fields(MViTConfig)]
    for field_name in config_fields:
        if field_name == "out_indices":  # which comes with features_only where people know it from
            raise ValueError(
                "there is no out_indices: features_only gives every level, so choose from the list of them"
            )
        if field_name not in known:
            raise ValueError(f"MViTConfig has no field {field_name!r}: {nearest(field_name, known)}")
    check_inflation(inflate)
    published = None if weights is None else hub.named(name_or_config, weights)
    if published is not None:
        config = published.config(config)
    if num_classes is not None:
        config_fields["num_classes"] = num_classes
    config = MViTConfig.from_dict(config.to_dict() | config_fields)
    model = MViT(config)
    if weights is not None:
        _, state, report = read(hub.fetch(published) if published else weights, config=config)
        try:
            fit(model, state, report, inflate)
        except CheckpointError as error:
            if published is None or not published.note:
                raise
            raise CheckpointError(f"{error} ({published.note})") from error
        if report.resized or report.reinitialised or report.not_finite or report.differing:
            warnings.warn(str(report), stacklevel=2)
        model.eval()
    return FeaturesOnly(model) if features_only else model
