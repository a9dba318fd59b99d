"""Studies of a test's own, in place of those that are declared."""

from collections.abc import Mapping

import pytest

from mvit.studies import ablations, findings, matching, naming, planning, sweep
from mvit.studies.ablations import Study

DECLARED = ablations.STUDIES


def declare(monkeypatch: pytest.MonkeyPatch, studies: Mapping[str, Study]) -> None:
    """Have these studies and no others, until the test ends."""
    for module in (ablations, findings, matching, naming, planning, sweep):
        monkeypatch.setattr(module, "STUDIES", studies)
