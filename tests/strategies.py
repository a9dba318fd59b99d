"""Random models for property tests: every field of the configuration is drawn."""

from dataclasses import replace

from hypothesis import strategies as st

from mvit.model.config import MViTConfig


def triples(least, most):
    """(frames, height, width) between two such triples, both included."""
    return st.tuples(*[st.integers(low, high) for low, high in zip(least, most, strict=True)])


CLIPS = triples((1, 8, 8), (7, 40, 40))


@st.composite
def configurations(draw, *, kind="plain"):
    """A few stages of every kind; heads of at least two channels, for a sum over one is no product to torch."""
    stages = draw(st.integers(1, 3))

    def each(values):
        return draw(st.tuples(*[values] * stages))

    heads = each(st.integers(1, 3))
    odd, any_size = st.sampled_from([1, 3, 5]), st.integers(1, 4)
    stem_kernel, stem_padding = draw(st.sampled_from([((1, 5, 5), (0, 2, 2)), ((3, 4, 4), (1, 1, 1))]))
    widths = tuple(count * draw(st.integers(2, 5)) for count in heads)
    config = MViTConfig(
        num_classes=draw(st.integers(1, 7)),
        clip=draw(triples((1, 8, 8), (5, 33, 33))),
        stem_kernel=stem_kernel,
        stem_stride=draw(triples((1, 2, 2), (2, 4, 4))),
        stem_padding=stem_padding,
        depths=each(st.integers(1, 3)),
        widths=widths,
        heads=heads,
        stride_q=each(triples((1, 1, 1), (2, 3, 3))),
        kernel_q=each(st.tuples(odd, odd, odd)),
        stride_kv=each(triples((1, 1, 1), (2, 4, 4))),
        kernel_kv=each(st.tuples(any_size, any_size, any_size)),
        widen_in=draw(st.sampled_from(["mlp", "attention"])),
        width_skip=draw(st.sampled_from(["normalised", "raw", "none"])),
        pool_every_query=draw(st.booleans()),
        pooling=draw(st.sampled_from(["conv", "max", "average"])),
        class_token=draw(st.booleans()),
        positions=draw(st.sampled_from(["none", "space", "joint", "separate"])),
        relative_positions=draw(st.sampled_from(["none", "grid", "floor"])),
        residual_pooling=draw(st.booleans()),
        residual_class_token=draw(st.booleans()),
        qkv_bias=draw(st.booleans()),
        drop_path=0.0,
        head_dropout=0.0,
        init="torch",
    )
    if kind == "plain":
        return config
    config = replace(config, width_skip="normalised", stride_q=((1, 1, 1), *config.stride_q[1:]))
    if kind == "merging":
        return replace(config, widen_in="merging")
    return replace(config, reversible=draw(st.sampled_from(["average", "mlp"])), widen_in="attention")


def without_merging():
    """Reversible models among the others."""
    return st.one_of(configurations(), configurations(kind="reversible"))


def any_kind():
    """Those that merge patches, too."""
    return st.one_of(without_merging(), configurations(kind="merging"))
