"""The papers' tables again: every printed figure beside ours, how far apart they are, and what becomes of the claims.

Ours are the multiply-adds with LayerNorms, as fvcore counts and the papers print; MViT's by arithmetic, the others'
counted on tensors without memory while their libraries' modules run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from mvit import baselines
from mvit.analysis import counter
from mvit.analysis.claims import RATIOS, SAYINGS, Figures, Quantity
from mvit.analysis.complexity import Complexity, Counted, complexity
from mvit.analysis.published import TABLES, Published

FAR_PERCENT = 1.0
NOT_BUILT = "not built here"


@dataclass(frozen=True)
class Comparison:
    """A printed row beside what was counted, None where it is not built here or its library is missing."""

    table: str
    printed: Published
    counted: Complexity | Counted | None
    note: str

    @property
    def parameters_percent(self) -> float | None:
        """How far our parameters are from the printed ones."""
        return None if self.counted is None else _percent(self.counted.parameters / 1e6, self.printed.parameters)

    @property
    def macs_percent(self) -> float | None:
        """How far our multiply-adds are from the printed ones."""
        return None if self.counted is None else _percent(self.counted.macs_with_norms / 1e9, self.printed.gmac)


def _percent(ours: float, printed: float) -> float:
    return 100 * (ours / printed - 1)


def compare() -> list[Comparison]:
    """Count every row of the papers' tables that can be built; each baseline is built once."""
    known: dict[str, Counted] = {}
    comparisons = []
    for table, rows in TABLES.items():
        for printed in rows:
            counted: Complexity | Counted | None = None
            note = printed.note
            if printed.config is not None:
                counted = complexity(printed.config, views=printed.views)
            elif not printed.baseline:
                note = f"{NOT_BUILT}: {note}"
            elif not baselines.is_installed(printed.baseline):
                library = baselines.BASELINES[printed.baseline].library
                note = f"needs {library}: pip install 'mvit[baselines]'"
            else:
                counted = known.get(printed.baseline) or _counted(printed)
                known[printed.baseline] = counted
            comparisons.append(Comparison(table, printed, counted, note))
    return comparisons


def _counted(printed: Published) -> Counted:
    clip = baselines.BASELINES[printed.baseline].clip
    return counter.count(lambda: baselines.create(printed.baseline), clip, printed.views)


def figures_of(comparisons: Sequence[Comparison], *, ours: bool) -> Figures:
    """Costs by system and quantity, for the claims; ours, where counted, or those printed."""
    figures: dict[tuple[str, Quantity], float] = {}
    for each in comparisons:
        printed, counted = each.printed, each.counted
        if ours and counted is None:
            continue
        parameters = counted.parameters / 1e6 if ours and counted else printed.parameters
        gmac = counted.macs_with_norms / 1e9 if ours and counted else printed.gmac
        figures[printed.system, "parameters"] = parameters
        figures[printed.system, "GMAC a view"] = gmac
        figures[printed.system, "GMAC a video"] = gmac * prod(printed.views)
    return figures


def rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The comparison as plain values, a mapping a row, for CSV and JSON."""
    return [
        {
            "table": each.table,
            "system": each.printed.system,
            "source": each.printed.source,
            "data": each.printed.data,
            "top1": each.printed.top1,
            "views": "x".join(map(str, each.printed.views)),
            "printed_parameters": round(each.printed.parameters * 1e6),
            "parameters": each.counted.parameters if each.counted else None,
            "parameters_percent": _rounded(each.parameters_percent),
            "printed_gmac": each.printed.gmac,
            "macs": each.counted.macs if each.counted else None,
            "macs_with_norms": each.counted.macs_with_norms if each.counted else None,
            "macs_percent": _rounded(each.macs_percent),
            "note": each.note,
        }
        for each in comparisons
    ]


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 2)


def describe(comparisons: Sequence[Comparison]) -> str:
    """The tables, the rows that are far off, and the claims, for people."""
    return "\n".join([*_tables(comparisons), "", *_far(comparisons), "", *_claims(comparisons)])


def _tables(comparisons: Sequence[Comparison]) -> Iterator[str]:
    head = f"{'':33}{'parameters, M':^27}{'GMAC a view':^35}"
    columns = f"{'system':33}{'printed':>8}{'ours':>10}{'%':>7}  {'printed':>9}{'ours':>11}{'%':>7}  {'no norms':>9}"
    for table in TABLES:
        yield from (f"\n{table}", head, f"{columns}{'views':>7}{'top-1':>7}  source")
        for each in comparisons:
            if each.table == table:
                yield _line(each)


def _line(each: Comparison) -> str:
    printed, counted = each.printed, each.counted
    ours = (f"{'-':>10}{'':>7}", f"{'-':>11}{'':>7}  {'':>9}")
    if counted is not None:
        ours = (
            f"{counted.parameters / 1e6:>10.3f}{each.parameters_percent:>+7.2f}",
            f"{counted.macs_with_norms / 1e9:>11,.3f}{each.macs_percent:>+7.2f}  {counted.macs / 1e9:>9,.2f}",
        )
    views = f"{printed.views[0]}x{printed.views[1]}"
    return (
        f"{printed.system:33}{printed.parameters:>8g}{ours[0]}  {printed.gmac:>9,g}{ours[1]}"
        f"{views:>7}{printed.top1:>7.1f}  [{printed.source}] {each.note}".rstrip()
    )


def _far(comparisons: Sequence[Comparison]) -> Iterator[str]:
    yield f"Further than {FAR_PERCENT:g} % from what is printed:"
    for each in comparisons:
        apart = {"parameters": each.parameters_percent, "GMAC": each.macs_percent}
        far = [f"{name} {by:+.1f} %" for name, by in apart.items() if by is not None and abs(by) > FAR_PERCENT]
        if far:
            why = each.note or _digits(each)
            yield f"  {each.printed.system}: {', '.join(far)}{why and f' ({why})'}"


def _digits(each: Comparison) -> str:
    """Whether printing so few digits explains the difference."""
    assert each.counted is not None
    pairs = (
        (each.counted.parameters / 1e6, each.printed.parameters),
        (each.counted.macs_with_norms / 1e9, each.printed.gmac),
    )
    return "" if any(f"{ours:.{_decimals(printed)}f}" != f"{printed:g}" for ours, printed in pairs) else "rounding"


def _decimals(number: float) -> int:
    return len(f"{number:g}".partition(".")[2])


def _claims(comparisons: Sequence[Comparison]) -> Iterator[str]:
    printed, ours = figures_of(comparisons, ours=False), figures_of(comparisons, ours=True)
    yield "What is said, in ratios: by the printed figures, by ours"
    for ratio in RATIOS:
        by_print, verdict = ratio.verdict(printed)
        by_ours, our_verdict = ratio.verdict(ours)
        yield (
            f"  {ratio.said}\n    {ratio.dearer} to {ratio.cheaper}, {ratio.quantity}: {_times(by_print)}, "
            f"{_times(by_ours)}: {verdict if by_ours is None else our_verdict}"
        )
    yield "\nWhat else is said"
    for saying in SAYINGS:
        holds, figures = saying.reckon()
        yield f"  {saying.said}: {'holds' if holds else 'does not hold'}\n    {figures}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
