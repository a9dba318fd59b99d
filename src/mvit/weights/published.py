"""Which trained weights others have published: where they lie, what they were measured at, which classes they know.

A name is a data set and a source, ``k400_torchvision``; a data set alone, ``k400``, is the first of a preset's entries
for it, which is the authors' own file where it can be fetched directly and is known to be the preset's architecture,
else a port of it. URLs and figures are those of the sources' own tables, as of the commits in docs/reproduce.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mvit.data.sampling import ClipSampling
from mvit.data.views import Preprocessing, describe
from mvit.model.config import MViTConfig


@dataclass(frozen=True)
class DataSet:
    """What weights were trained to tell apart."""

    title: str
    classes: int


@dataclass(frozen=True)
class Source:
    """Who published weights: where their table of figures stands, and the licence of their repository."""

    page: str
    licence: str


@dataclass(frozen=True)
class Protocol:
    """How an accuracy was measured."""

    views: tuple[int, int]
    """Clips and crops."""
    preprocessing: Preprocessing

    def __str__(self) -> str:
        return describe(self.preprocessing, *self.views)


DATA_SETS = {
    "k400": DataSet("Kinetics-400", 400),
    "k600": DataSet("Kinetics-600", 600),
    "ssv2": DataSet("Something-Something V2", 174),
    "in1k": DataSet("ImageNet-1K", 1000),
    "in21k": DataSet("ImageNet-21K, winter 2021", 19168),
}

SOURCES = {
    "slowfast": Source("facebookresearch/SlowFast, MODEL_ZOO.md and projects/", "Apache-2.0"),
    "mvit": Source("facebookresearch/mvit, README.md", "Apache-2.0"),
    "pytorchvideo": Source("facebookresearch/pytorchvideo, docs/source/model_zoo.md", "Apache-2.0"),
    "torchvision": Source("pytorch/vision, torchvision/models/video/mvit.py", "BSD-3-Clause"),
    "mmaction2": Source("open-mmlab/mmaction2, configs/recognition/mvit/README.md", "Apache-2.0"),
    "timm": Source("huggingface/pytorch-image-models, results/results-imagenet.csv", "Apache-2.0"),
}


@dataclass(frozen=True)
class Published:
    """A file of trained weights that someone has published for a preset."""

    preset: str
    name: str
    """Data set and source, joined by an underscore; what stands behind that tells two files of one source apart."""
    url: str
    accuracy: tuple[float, ...]
    """Top-1, and top-5 where it was published, in per cent; nothing where no figure is of this very file."""
    protocol: Protocol
    note: str = ""
    config_fields: Mapping[str, Any] = field(default_factory=dict)
    """Where the file's architecture is not the preset's, its classes aside."""

    @property
    def short_name(self) -> str:
        """The name without its source, by which the first entry of a preset and data set is meant."""
        return self.name.split("_")[0]

    @property
    def data(self) -> DataSet:
        """What the weights were trained to tell apart."""
        return DATA_SETS[self.short_name]

    @property
    def source(self) -> Source:
        """Who published the file."""
        return SOURCES[self.name.split("_")[1]]

    @property
    def sha256(self) -> str:
        """The first digits of the file's SHA-256, which torchvision and mmaction2 put into its name; else nothing."""
        digits = re.search(r"-([0-9a-f]{8})\.pth$", self.url)
        return digits[1] if digits else ""

    def fields_of(self, preset: MViTConfig) -> dict[str, Any]:
        """What a preset must have otherwise to start from the file, its classes aside.

        A model for clips never adds queries to what its class token gets, which only official code for images does.
        """
        only_of_images = {"residual_class_token"} if preset.clip[0] > 1 else set()
        return {name: value for name, value in self.config_fields.items() if name not in only_of_images}

    def config(self, preset: MViTConfig) -> MViTConfig:
        """The preset with the classes of the file, and with what else differs in it."""
        return replace(preset, num_classes=self.data.classes, **self.fields_of(preset))

    def to_dict(self) -> dict[str, Any]:
        """What a person or a program wants to know of it, as JSON holds it; what is not published is left out."""
        known = {
            "data": f"{self.data.title}, {self.data.classes:,} classes",
            **dict(zip(("top1", "top5"), self.accuracy, strict=False)),
            "protocol": str(self.protocol),
            "source": self.source.page,
            "licence": self.source.licence,
            "url": self.url,
            "sha256_starts_with": self.sha256,
            "note": self.note,
        }
        return {key: value for key, value in known.items() if value}


def published_for(preset: str) -> dict[str, Published]:
    """The weights published for a preset by name, each data set's default first."""
    return {entry.name: entry for entry in PUBLISHED if entry.preset == preset}


# ---- protocols, those of each source's test code -------------------------------------------------------------------


def _dense(frames: int, spacing: int, fps: float | None = 30.0, crops: int = 1, **sizes: Any) -> Protocol:
    # SlowFast counts frames at 30 a second whatever the file's rate is; torchvision's frame_rate=7.5 says the same.
    sampling = ClipSampling(frames=frames, spacing=spacing, target_fps=fps)
    return Protocol((5, crops), Preprocessing(sampling=sampling, **sizes))


def _segments(frames: int, crop: int = 224, **norm: Any) -> Protocol:
    # Where three crops are taken, the short side is the crop's.
    sampling = ClipSampling(frames=frames, mode="segments")
    return Protocol((1, 3), Preprocessing(sampling=sampling, short_side=crop, crop=crop, **norm))


def _image(short_side: int = 256) -> Protocol:
    sampling = ClipSampling(frames=1, spacing=1)
    return Protocol((1, 1), Preprocessing(sampling=sampling, short_side=short_side, **_IMAGENET))


_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_LARGE: dict[str, Any] = {"crops": 3, "short_side": 312, "crop": 312}

_16X4, _16X4_MM = _dense(16, 4), _dense(16, 4, None, short_side=224)
_32X3, _32X3_MM = _dense(32, 3), _dense(32, 3, None, short_side=224)
_40X3, _40X3_MM = _dense(40, 3, **_LARGE, **_IMAGENET), _dense(40, 3, None, **_LARGE)
_IN1K, _IN1K_TIMM = _image(), _image(248)
_B_21K: dict[str, Any] = {"class_token": True, "residual_class_token": True}
_L_21K: dict[str, Any] = {**_B_21K, "widen_in": "attention"}

# ---- the table -----------------------------------------------------------------------------------------------------

_FB = "https://dl.fbaipublicfiles.com/"
_SF, _V2 = f"{_FB}pyslowfast/", f"{_FB}pyslowfast/model_zoo/mvitv2/pysf_video_models/"
_PTV, _V2_IMAGE = f"{_FB}pytorchvideo/model_zoo/", f"{_FB}mvit/mvitv2_models/"
_TV, _TIMM = "https://download.pytorch.org/models/", "https://huggingface.co/timm/"
_TIMM_FILE = "resolve/main/pytorch_model.bin"
_MM = "https://download.openmmlab.com/mmaction/v1.0/recognition/mvit/"
_MM_K400 = "mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb"
_MM_SSV2 = "mvit-small-p244_k400-pre_16xb16-u16-100e_sthv2-rgb"
_DRIVE = "https://drive.google.com/uc?export=download&id="

_BY_HAND = "Google Drive answers with a page that a person must confirm: save the file by hand"
_NO_POOLS = "users found no pooling of keys and values in its last two blocks (SlowFast issues 456 and 475)"
_UNSURE = "the zoo calls it B 32x3 and links a configuration of 24 blocks; mvit.weights.read(FILE) says what it is"
_TUNED = "published accuracies are those of ImageNet-1K after fine-tuning, whose weights are not published"
_HUB_PAGE = "the figure is that of its hub page, in whole per cent"
_NORM = "tested with mean 0.45 and deviation 0.225, but trained with those of ImageNet"
_NORM_SIZE = f"{_NORM}; its page says 312 pixels, its configuration tests at 224"

PUBLISHED: tuple[Published, ...] = (
    # MViT (arXiv 2104.11227)
    Published("mvit_b_16x4", "k400_torchvision", _TV + "mvit_v1_b-dbeb1030.pth", (78.477, 93.582), _16X4),
    Published("mvit_b_16x4", "k400_pytorchvideo", _PTV + "kinetics/MVIT_B_16x4.pyth", (78.85, 93.85), _16X4),
    Published(
        "mvit_b_16x4",
        "k400_slowfast",
        _DRIVE + "194gJinVejq6A1FmySNKQ8vAN5-FOY-QL",
        (78.4, 93.5),
        _16X4,
        f"{_BY_HAND}; {_NO_POOLS}",
    ),
    Published("mvit_b_32x3", "k400_pytorchvideo", _PTV + "kinetics/MVIT_B_32x3_f294077834.pyth", (80.30, 94.69), _32X3),
    Published("mvit_b_24_32x3", "k400_slowfast", _SF + "model_zoo/mvit/k400.pyth", (80.4, 94.8), _32X3, _UNSURE),
    Published("mvit_b_24_32x3", "k600_slowfast", _SF + "model_zoo/mvit/k600.pyth", (83.9, 96.5), _32X3, _UNSURE),
    Published(
        "mvit_b_16_image",
        "in1k_pytorchvideo",
        _PTV + "imagenet/MVIT_B_16_f292487636.pyth",
        (83.0,),
        _IN1K,
        _HUB_PAGE,
        {"positions": "separate"},
    ),
    Published(
        "mvit_b_16_image", "in1k_slowfast", _DRIVE + "1dYYqUB-3DSgBVc9d6o-rW8ojtVsrFLgp", (82.9, 96.3), _IN1K, _BY_HAND
    ),
    # Reversible MViT (arXiv 2302.04869)
    Published("rev_mvit_b_16x4", "k400_slowfast", _SF + "rev/REV_MVIT_B_16x4.pyth", (78.4, 93.4), _16X4),
    Published("rev_mvit_b_16_image", "in1k_slowfast", _SF + "rev/REV_MVIT_B.pyth", (82.9,), _IN1K),
    # MViTv2 (arXiv 2112.01526), video
    Published("mvitv2_s_16x4", "k400_slowfast", _V2 + "MViTv2_S_16x4_k400_f302660347.pyth", (81.0, 94.6), _16X4),
    Published("mvitv2_s_16x4", "k400_torchvision", _TV + "mvit_v2_s-ae3be167.pth", (80.757, 94.665), _16X4),
    Published(
        "mvitv2_s_16x4",
        "k400_mmaction2",
        _MM + "converted/mvit-small-p244_16x4x1_kinetics400-rgb_20221021-9ebaaeed.pth",
        (81.1, 94.7),
        _16X4_MM,
    ),
    Published(
        "mvitv2_s_16x4",
        "k400_mmaction2_retrained",
        f"{_MM}{_MM_K400}/{_MM_K400}_20230201-23284ff3.pth",
        (80.6, 94.7),
        _16X4_MM,
    ),
    Published(
        "mvitv2_s_16x4", "ssv2_slowfast", _V2 + "MViTv2_S_16x4_ssv2_f308341823.pyth", (68.2, 91.4), _segments(16)
    ),
    Published(
        "mvitv2_s_16x4",
        "ssv2_mmaction2",
        _MM + "converted/mvit-small-p244_u16_sthv2-rgb_20221021-65ecae7d.pth",
        (68.1, 91.0),
        _segments(16),
    ),
    Published(
        "mvitv2_s_16x4",
        "ssv2_mmaction2_retrained",
        f"{_MM}{_MM_SSV2}/{_MM_SSV2}_20230201-4065c1b9.pth",
        (68.2, 91.3),
        _segments(16),
    ),
    Published("mvitv2_b_32x3", "k400_slowfast", _V2 + "MViTv2_B_32x3_k400_f304025456.pyth", (82.9, 95.7), _32X3),
    Published(
        "mvitv2_b_32x3",
        "k400_mmaction2",
        _MM + "converted/mvit-base-p244_32x3x1_kinetics400-rgb_20221021-f392cd2d.pth",
        (82.6, 95.8),
        _32X3_MM,
    ),
    Published(
        "mvitv2_b_32x3", "ssv2_slowfast", _V2 + "MViTv2_B_32x3_ssv2_f305803282.pyth", (70.5, 92.7), _segments(32)
    ),
    Published(
        "mvitv2_b_32x3",
        "ssv2_mmaction2",
        _MM + "converted/mvit-base-p244_u32_sthv2-rgb_20221021-d5de5da6.pth",
        (70.8, 92.7),
        _segments(32),
    ),
    Published("mvitv2_l_40x3", "k400_slowfast", _V2 + "MViTv2_L_40x3_k400_f306903192.pyth", (86.1, 97.0), _40X3),
    Published(
        "mvitv2_l_40x3",
        "k400_mmaction2",
        _MM + "converted/mvit-large-p244_40x3x1_kinetics400-rgb_20221021-11fe1f97.pth",
        (85.4, 96.2),
        _40X3_MM,
        _NORM,
    ),
    Published(
        "mvitv2_l_40x3",
        "ssv2_slowfast",
        _V2 + "MViTv2_L_40x3_ssv2_f309603968.pyth",
        (73.3, 94.1),
        _segments(40, 312, **_IMAGENET),
    ),
    Published(
        "mvitv2_l_40x3",
        "ssv2_mmaction2",
        _MM + "converted/mvit-large-p244_u40_sthv2-rgb_20221021-61696e07.pth",
        (73.2, 94.0),
        _segments(40, 312),
        _NORM_SIZE,
    ),
    # MViTv2, images
    Published("mvitv2_t_image", "in1k_mvit", _V2_IMAGE + "MViTv2_T_in1k.pyth", (82.3,), _IN1K),
    Published("mvitv2_t_image", "in1k_timm", f"{_TIMM}mvitv2_tiny.fb_in1k/{_TIMM_FILE}", (82.408,), _IN1K_TIMM),
    Published("mvitv2_s_image", "in1k_mvit", _V2_IMAGE + "MViTv2_S_in1k.pyth", (83.6,), _IN1K),
    Published("mvitv2_s_image", "in1k_timm", f"{_TIMM}mvitv2_small.fb_in1k/{_TIMM_FILE}", (83.772,), _IN1K_TIMM),
    Published("mvitv2_b_image", "in1k_mvit", _V2_IMAGE + "MViTv2_B_in1k.pyth", (84.4,), _IN1K),
    Published("mvitv2_b_image", "in1k_timm", f"{_TIMM}mvitv2_base.fb_in1k/{_TIMM_FILE}", (84.424,), _IN1K_TIMM),
    Published("mvitv2_l_image", "in1k_mvit", _V2_IMAGE + "MViTv2_L_in1k.pyth", (85.3,), _IN1K),
    Published("mvitv2_l_image", "in1k_timm", f"{_TIMM}mvitv2_large.fb_in1k/{_TIMM_FILE}", (85.264,), _IN1K_TIMM),
    Published("mvitv2_b_image", "in21k_mvit", _V2_IMAGE + "MViTv2_B_in21k.pyth", (), _IN1K, _TUNED, _B_21K),
    Published(
        "mvitv2_b_image", "in21k_timm", f"{_TIMM}mvitv2_base_cls.fb_inw21k/{_TIMM_FILE}", (), _IN1K_TIMM, _TUNED, _B_21K
    ),
    Published("mvitv2_l_image", "in21k_mvit", _V2_IMAGE + "MViTv2_L_in21k.pyth", (), _IN1K, _TUNED, _L_21K),
    Published(
        "mvitv2_l_image",
        "in21k_timm",
        f"{_TIMM}mvitv2_large_cls.fb_inw21k/{_TIMM_FILE}",
        (),
        _IN1K_TIMM,
        _TUNED,
        _L_21K,
    ),
    Published("mvitv2_h_image", "in21k_mvit", _V2_IMAGE + "MViTv2_H_in21k.pyth", (), _IN1K, _TUNED),
    Published("mvitv2_h_image", "in21k_timm", f"{_TIMM}mvitv2_huge_cls.fb_inw21k/{_TIMM_FILE}", (), _IN1K_TIMM, _TUNED),
)
