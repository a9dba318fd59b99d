import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvit.data import augmentation
from mvit.model.presets import get_config, list_models
from mvit.recipes import recipe as recipes
from mvit.recipes import sections
from mvit.recipes.recipe import load


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim.lr=fast", "optim.lr is 'fast': expected a number"),
        ("train.epochs=3.5", "train.epochs is 3.5: expected a whole number"),
        ("train.workers=many", "train.workers is 'many': expected a whole number or \"auto\""),
        ("data.sampling=dens", 'data.sampling is \'dens\': expected "dense" or "segments"'),
        ("epochs=3", "'epochs' stands in no section: write train.epochs"),
        ("train.epoch=3", "[train] has no key 'epoch': did you mean 'epochs'?"),
        ("train.lr=3", "[train] has no key 'lr': did you mean optim.lr?"),
        ("model.drop_pat=0.1", "[model] has no key 'drop_pat': did you mean 'drop_path'?"),
        ("trian.epochs=3", "there is no section 'trian': did you mean 'train'?"),
        ("train=3", "'train' is a section: name a key of it, such as train.epochs"),
        ("train.epochs", "'train.epochs' sets nothing: write section.key=value, such as train.epochs=30"),
        ("model.num_classes=3", "model.num_classes is not set by hand: it follows from the classes of the data"),
        ("model.clip=[8,64,64]", "model.clip is not set by hand: it follows from data.frames and data.crop"),
        ("train.epochs=0", "train.epochs is 0: expected more than 0"),
        ("train.seed=-1", "train.seed is -1: expected at least 0"),
        ("optim.betas=[0.9, 1.0]", "optim.betas is [0.9, 1.0]: expected at least 0 and below 1"),
        ("train.holdout=1.0", "train.holdout is 1.0: expected at least 0 and below 1"),
        ("optim.warmup_fraction=1.0", "the warm-up must end before the run does"),
        (
            "optim.warmup_epochs=30",
            "optim.warmup_epochs is 30 and train.epochs 30: the warm-up must end before the run",
        ),
        ("optim.warmup_epochs=-1", "optim.warmup_epochs is -1.0: expected at least 0"),
        ("optim.warmup_lr=0.1", "optim.warmup_lr is 0.1: the warm-up rises, so give 0 to optim.lr, 0.001"),
        ("optim.layer_decay=0", "optim.layer_decay is 0: expected more than 0 and at most 1"),
        ("optim.layer_decay=1.5", "optim.layer_decay is 1.5: expected more than 0 and at most 1"),
        ("optim.momentum=0.0", "optim.momentum is 0.0: expected more than 0 and below 1"),
        ("optim.name=lion", 'optim.name is \'lion\': expected "adamw" or "sgd"'),
        ("model.freeze=-1", "model.freeze is -1: expected at least 0"),
        ("model.freeze=some", "model.freeze is 'some': expected a whole number or \"all\""),
        ("model.freeze=all", "model.freeze is 'all', but model.weights is empty"),
        ("model.inflate=centre", "model.inflate is 'centre', but model.weights is empty"),
        ("data.crop=80", "data.crop"),
        ("train.epochs=3\ntrain.batch=2", "holds more than one value"),
        ("model.name=mvit_b_16x", "did you mean 'mvit_b_16x4'?"),
        ("augment.copies=3", "train.batch is 32 and augment.copies 3: a batch must hold all copies of its videos"),
        ("augment.jitter=[32, 60]", "frames scaled to less than the crop have no room for it"),
        ("augment.randaugment=rand-m7-x", "augment.randaugment: 'rand-m7-x' is no RandAugment"),
        ('augment.mirrored=[["a", 1]]', "augment.mirrored is"),
        ("model.heads=[1, 2, 4, 7]", "7 heads"),
        ("model.heads=4", "model.heads is 4: expected a list of entries, each a whole number"),
    ],
)
def test_a_wrong_override_is_refused_in_a_sentence(override: str, said: str):
    with pytest.raises(ValueError, match=re.escape(said)):
        load(None, ["data.short_side=70", override])


def test_overrides_are_toml_and_bare_words_are_strings():
    recipe = load(
        None,
        [
            "optim.lr = 2e-4",
            "optim.clip_norm=false",
            "model.name=mvit_small_16x64",
            "model.stride_kv=[[1,2,2],[1,2,2],[1,1,1],[1,1,1]]",
            "data.views=[3, 3]",
            "train.workers=auto",
        ],
    )
    assert recipe.optim.lr == 2e-4
    assert recipe.model.name == "mvit_small_16x64"
    assert recipe.optim.clip_norm is None
    assert recipe.data.views == (3, 3)
    assert recipe.model_config(5).stride_kv == ((1, 2, 2), (1, 2, 2), (1, 1, 1), (1, 1, 1))


@pytest.mark.parametrize("name", list_models())
def test_frames_and_sizes_follow_from_the_model(name: str):
    recipe = load(None, [f"model.name={name}"])
    frames, crop, _ = get_config(name).clip
    assert (recipe.data.frames, recipe.data.crop) == (frames, crop)
    assert recipe.model_config(7).clip == (frames, crop, crop)
    assert recipe.model_config(7).num_classes == 7
    assert load(None, [f"model.name={name}", "data.crop=112"]).data.short_side == 128


def test_the_defaults_of_load_and_of_the_dataclasses_are_the_same():
    assert load() == recipes.Recipe()


def test_fp16_in_shards_is_refused():
    with pytest.raises(ValueError, match=r'precision is "fp16" and train.parallel "fsdp".*take bf16, or ddp'):
        load(None, ["train.precision=fp16", "train.parallel=fsdp"])


def test_options_are_overrides_whatever_they_hold():
    given = {"model.weights": 'runs/🙂 "1"-1', "train.max_bad": 1e-05, "train.batch": 4, "train.memory": None}
    recipe = load(None, recipes.as_overrides(given))
    assert (recipe.model.weights, recipe.train.max_bad, recipe.train.batch) == tuple(given.values())[:3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_is_read_and_overridden(tmp_path: Path, encoding: str):
    file = tmp_path / "recipe.toml"
    text = '[model]\nname = "mvit_b_16x4"\ndrop_path = 0.3\n\n[train]\nepochs = 7\nbatch = 4\n'
    file.write_text(text, encoding=encoding)
    recipe = load(file, ["train.batch=6"])
    assert (recipe.train.epochs, recipe.train.batch, recipe.data.crop) == (7, 6, 224)
    assert recipe.model_config(3).drop_path == 0.3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[train\n", "is not TOML"),
        ("[train]\nepochs = 1\nepochs = 2\n", "is not TOML"),
        ("epochs = 3\n", "'epochs' stands in no section: write train.epochs"),
        ("[optim]\nlearning_rate = 3\n", "[optim] has no key 'learning_rate'"),
        ("[train]\nepochs = 1979-05-27\n", "train.epochs is 1979-05-27: expected a whole number"),
        ("[train.more]\nepochs = 1\n", "[train] has no key 'more'"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(tmp_path: Path, text: str, said: str):
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        load(file)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load(tmp_path / "nowhere.toml")


overrides = st.fixed_dictionaries(
    {},
    optional={
        "optim.lr": st.floats(1e-9, 1e3),
        "optim.ema_decay": st.just("false") | st.floats(0.1, 0.999),
        "data.target_fps": st.just("false") | st.floats(1, 60),
        "data.mean": st.lists(st.floats(-1, 1), min_size=3, max_size=3),
        "model.drop_path": st.floats(0, 0.9),
        "model.pooling": st.sampled_from(["conv", "max", "average"]),
        "model.weights": st.text(st.characters(codec="utf-8")).map(recipes.toml.written),
        "augment.jitter": st.just("false") | st.just("[64, 80]"),
        "augment.mirrored": st.just([["left", "right"], ["in", "out"]]).map(recipes.toml.written),
        "augment.randaugment": st.just("rand-m7-n4-mstd0.5-inc1"),
        "augment.copies": st.sampled_from([1, 2, 4]),
        "augment.flip": st.sampled_from(["auto", "on"]),
        "train.workers": st.just("auto") | st.integers(0, 9),
    },
)


@given(overrides)
def test_dumps_round_trips(tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]):
    recipe = load(None, [f"{key}={value}" for key, value in values.items()])
    file = tmp_path_factory.getbasetemp() / "round-trip.toml"
    file.write_text(recipes.dumps(recipe), encoding="utf-8")
    assert load(file) == recipe
    assert recipes.differences(recipe, load(file)) == []


def test_differences_name_keys_and_values():
    before, after = load(None, ["model.drop_path=0.3"]), load(None, ["optim.lr=2e-3", "optim.clip_norm=false"])
    assert recipes.differences(before, after) == [
        "model.drop_path: 0.3 -> the preset's",
        "optim.lr: 0.001 -> 0.002",
        "optim.clip_norm: 1.0 -> false",
    ]


def test_every_key_says_what_it_is():
    files = [ast.parse(Path(module.__file__).read_text(encoding="utf-8")) for module in (sections, augmentation)]
    classes = [node for tree in files for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) == 6
    for section in classes:
        for entry, after in pairwise(section.body):
            if isinstance(entry, ast.AnnAssign):
                assert isinstance(after, ast.Expr), f"{section.name}.{ast.unparse(entry.target)} says nothing of itself"
