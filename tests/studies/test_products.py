"""The products noted are those that torch's counter counts, and they can be run again."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from mvit.studies.cases import Subject, cases
from mvit.studies.products import Product, Workspace, noted

ATTENTION = {  # some versions of torch count nothing for the attention of a CPU
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, q, k, v, *_, **__: (
        sdpa_backward_flop_count(grad, q, k, v)
    ),
}


@pytest.mark.parametrize("name", ["mvit_test_4x32", "mvitv2_s_image"])
@pytest.mark.parametrize("train", [False, True])
def test_products_are_those_of_torch_s_counter(name, train):
    clip = (1, 32, 32) if name == "mvitv2_s_image" else (4, 32, 32)
    subject = Subject(cases([name], [clip], [2], train=train, device="cpu")[0])
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
        subject.step()
    counted = counter.get_flop_counts()["Global"]
    convolutions = sum(flops for operator, flops in counted.items() if "convolution" in str(operator))
    products = noted(subject.step)
    assert 2 * sum(product.macs for product in products) == sum(counted.values()) - convolutions
    Workspace(products, "cpu").run(products)


def test_a_product_is_computed_in_its_layout():
    product = Product(3, 2, 5, 4, (True, False), torch.float32)
    workspace = Workspace([product], "cpu")
    workspace.run([product])
    first, second, result = workspace.memory[torch.float32]
    torch.testing.assert_close(result.view(3, 2, 4), first.view(3, 5, 2).transpose(1, 2) @ second.view(3, 5, 4))
