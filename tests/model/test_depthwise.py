import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mvit.model.depthwise import depthwise_conv3d

windows = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3)).filter(lambda w: w[2] < w[0])

halved = st.tuples(st.just(3), st.integers(1, 2), st.integers(1, 2))
"""On maps no larger than themselves."""


@given(
    batch=st.integers(1, 2),
    channels=st.integers(1, 5),
    size_and_window=st.one_of(
        st.tuples(
            st.tuples(st.integers(4, 8), st.integers(4, 7), st.integers(4, 7)), st.tuples(windows, windows, windows)
        ),
        st.tuples(
            st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)), st.tuples(halved, halved, halved)
        ),
    ),
    channels_last=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_gradients_equal_torchs_own(batch, channels, size_and_window, channels_last, seed):
    size, window = size_and_window
    generator = torch.Generator().manual_seed(seed)
    kernel, stride, padding = zip(*window, strict=True)
    x = torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    weight = torch.randn(channels, 1, *kernel, dtype=torch.float64, generator=generator)
    x.requires_grad_()
    weight.requires_grad_()
    expected = F.conv3d(x, weight, stride=stride, padding=padding, groups=channels)
    grad = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
    output = depthwise_conv3d(x, weight, stride, padding)
    torch.testing.assert_close(output, expected)
    for ours, oracle in zip(
        torch.autograd.grad(output, (x, weight), grad), torch.autograd.grad(expected, (x, weight), grad), strict=True
    ):
        torch.testing.assert_close(ours, oracle)


def test_gradients_have_gradients():
    x = torch.randn(1, 2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, w: depthwise_conv3d(x, w, (1, 2, 2), (1, 1, 1)), (x, weight))


def test_a_kernel_padded_by_more_than_itself_is_torchs():
    x = torch.randn(1, 2, 3, 3, 3, requires_grad=True)
    output = depthwise_conv3d(x, torch.ones(2, 1, 1, 1, 1), (1, 1, 1), (1, 0, 0))
    assert output.shape == (1, 2, 5, 3, 3)
    output.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
