"""Memory of a step in a process of its own."""

from dataclasses import replace

import pytest

from mvit.analysis.complexity import complexity
from mvit.model.presets import get_config
from mvit.studies.cases import Subject, cases, loaded
from mvit.studies.footprint import footprint


def test_memory_of_a_step_is_what_arithmetic_expects():
    """Within what malloc and kernels add; the closed form itself is tested elsewhere, to the byte."""
    (case,) = cases(["mvit_tiny_16x64"], batches=[8], train=True, device="cpu")
    found = footprint(case)
    assert found
    assert found.weights == 4 * complexity(get_config(case.name)).parameters
    expected = 8 * complexity(get_config(case.name)).training_bytes
    assert 0.8 * expected < found.activations < 1.6 * expected


def test_what_does_not_fit():
    (case,) = cases(["mvit_test_4x32"], batches=[10**9], device="cpu")
    assert footprint(case) is None
    with pytest.raises(ValueError, match="a smaller --batch"), loaded([case]):
        pass


def test_a_fault_of_ours_in_the_other_process_is_told():
    (case,) = cases(["mvit_test_4x32"], device="cpu")
    with pytest.raises(RuntimeError, match="failed in a process of its own"):
        footprint(replace(case, clip=(4, 1)))  # type: ignore[arg-type]


def test_gradients_are_gone_after_a_step_unless_kept():
    subject = Subject(cases(["mvit_test_4x32"], train=True, device="cpu")[0])
    subject.step()
    assert all(parameter.grad is None for parameter in subject.model.parameters())
    subject.step(keep_gradients=True)
    assert all(not parameter.grad.any() for parameter in subject.model.parameters())
