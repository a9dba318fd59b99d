"""A trained model as a folder that transformers opens: its configuration, its weights, and where its classes are."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mvit.deploy.described import Described
from mvit.evaluation.metrics import softmax
from mvit.evaluation.scoring import Predict
from mvit.weights.read import DESCRIPTION_FILE, MODEL_FILE, describe

EXTRA = "mvit[baselines]"
CONFIG_FILE, PROCESSOR_FILE, CODE_FILE = "config.json", "video_preprocessor_config.json", "modeling_mvit.py"
FILES = (CONFIG_FILE, PROCESSOR_FILE, CODE_FILE)
"""What is written beside the model."""
TASK = "video-classification"
CODE = '''"""The classes that config.json names; mvit holds them, and this file only says where."""

try:
    from mvit.deploy.transformers_classes import (
        MViTForVideoClassification,
        MViTPretrainedConfig,
        MViTVideoClassificationPipeline,
        MViTVideoProcessor,
    )
except ModuleNotFoundError as missing:
    if (missing.name or "").split(".")[0] != "mvit":
        raise
    raise ImportError("this model is computed by mvit, which is not installed here: pip install mvit") from None

__all__ = [
    "MViTForVideoClassification",
    "MViTPretrainedConfig",
    "MViTVideoClassificationPipeline",
    "MViTVideoProcessor",
]
'''
"""Thin, so that a folder does not grow old: what it names is a promise of the package."""


def texts(description: Mapping[str, Any]) -> dict[str, str]:
    """The files, by name, that stand beside ``model.safetensors``, of what ``model.json`` says.

    Raises ``ValueError`` for another library's model.
    """
    if "baseline" in description["config"]:
        raise ValueError(
            f"this is {description['config']['baseline']}, another library's model, and transformers opens folders of "
            "ours: mvit predict and mvit export --to onnx take it"
        )
    module, classes = CODE_FILE.removesuffix(".py"), description["classes"]
    several = description.get("multi_label", False)
    config = {
        "model_type": "mvit",
        "architectures": ["MViTForVideoClassification"],
        "auto_map": {
            "AutoConfig": f"{module}.MViTPretrainedConfig",
            "AutoModelForVideoClassification": f"{module}.MViTForVideoClassification",
        },
        "custom_pipelines": {
            TASK: {"impl": f"{module}.MViTVideoClassificationPipeline", "pt": ["AutoModelForVideoClassification"]}
        },
        "dtype": "float32",
        "id2label": dict(enumerate(classes)),
        "label2id": {name: place for place, name in enumerate(classes)},
        "problem_type": "multi_label_classification" if several else "single_label_classification",
        "num_frames": description["preprocessing"]["sampling"]["frames"],
        "description": description,
    }
    processor = {
        "auto_map": {"AutoVideoProcessor": f"{module}.MViTVideoProcessor"},
        "video_processor_type": "MViTVideoProcessor",
        "preprocessing": description["preprocessing"],
        "views": description["views"],
    }
    return {CONFIG_FILE: _json(config), PROCESSOR_FILE: _json(processor), CODE_FILE: CODE}


def write(run: Path, folder: Path) -> Predict:
    """Write the folder of a run or its file, and open it as transformers does: from clips to what ``log_scores`` gives.

    Raises ``ValueError`` for another library's model, and where transformers is not installed.
    """
    content = texts(describe(run))
    try:
        import torch

        from mvit.deploy.transformers_classes import MViTForVideoClassification
    except ImportError as missing:
        raise ValueError(
            f"a folder for transformers is looked at by transformers, 5.23 or newer ({missing}): pip install '{EXTRA}'"
        ) from missing
    folder.mkdir()
    weights = run / MODEL_FILE if run.is_dir() else run
    shutil.copyfile(weights, folder / MODEL_FILE)
    shutil.copyfile(weights.parent / DESCRIPTION_FILE, folder / DESCRIPTION_FILE)
    for name, text in content.items():
        (folder / name).write_text(text, encoding="utf-8")
    model = MViTForVideoClassification.from_pretrained(folder).eval()

    @torch.inference_mode()
    def predict(clips: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(clips).transpose(1, 2)).logits.numpy()

    return predict


def log_scores(model: Described) -> Predict:
    """A model's logits of clips as the folder gives them: of one class, logarithms of the scores."""
    if model.scoring.multi_label:
        return model.logits
    return lambda clips: np.log(softmax(model.logits(clips)))


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
