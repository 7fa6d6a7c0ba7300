"""The board of comparisons: whether the systems differ, which do and by how much."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from survey.analysis import Analysis
from survey.report import Finding, Report
from survey.scoring import Standing
from survey.stats import Comparison, CriticalDifference, Friedman, Withheld
from survey.ui.blocks import (
    Block,
    board,
    colours_of,
    counted,
    criterion_title,
    ends,
    figure,
    findings_on,
    grid,
    nothing,
    number,
    p_value,
    scope_of,
    span_of,
    system_title,
    unranked,
    why_nothing,
)
from survey.ui.figures import Point, critical_difference, interval_plot, pair_map


def draw(analysis: Analysis) -> dict[str, Any]:
    """Whether and where the systems differ."""
    report = analysis.report
    if not report.participants:
        return nothing(why_nothing(report))
    sections: list[dict[str, Any]] = []
    for criterion in report.study.criteria:
        findings, title = findings_on(report, criterion.key), criterion_title(report, criterion.key)
        if not findings:
            sections.append(unranked(criterion.key))
            continue
        sections.append(
            {
                "of": criterion.key,
                "title": "Do the systems differ?",
                "note": "Friedman’s test over participants; Iman and Davenport’s F keeps its level better; the "
                "permutation p assumes nothing about the distribution. W says how alike participants rank, 0 to 1.",
                "blocks": [_omnibus(report, findings, title), *_reasons(of.friedman for of in findings)],
            }
        )
        sections += [
            {
                "of": criterion.key,
                "title": f"Which differ: {scope_of(report, of.direction)}",
                "note": "",
                "blocks": [_pairs(report, of, title, of.nemenyi, of.pairwise)],
            }
            for of in findings
            if not isinstance(of.nemenyi, Withheld) and not isinstance(of.pairwise, Withheld)
        ]
        sections.append(_strengths(report, title, criterion.key, findings))
        sections.append(_before_after(report, title, criterion.key))
    if len(report.study.criteria) > 1:
        sections.append(_agreement(report))
    return board(report, sections)


def _omnibus(report: Report, findings: Sequence[Finding], title: str) -> dict[str, Any]:
    rows = []
    for of in findings:
        test = of.friedman
        if isinstance(test, Friedman):
            f = "∞" if math.isinf(test.f) else f"{test.f:.2f}"
            cells = [
                str(test.participants),
                f"{test.chi_square:.2f}",
                str(test.df),
                p_value(test.p_chi_square),
                {"text": f, "sub": f"{test.df}, {test.df_error}"},
                p_value(test.p_f),
                p_value(test.p_permutation),
                f"{test.kendall_w:.3f}",
            ]
        else:
            cells = [str(test.participants), *["withheld"] * 7]
        rows.append([scope_of(report, of.direction), *cells])
    head = ["Rankings", "Participants", "Chi-square", "df", "p", "F", "p of F", "p by permutation", "Kendall’s W"]
    return {"kind": "table", "caption": f"{title}: tests of all systems", "head": head, "rows": rows}


def _pairs(
    report: Report, of: Finding, title: str, nemenyi: CriticalDifference, pairs: Sequence[Comparison]
) -> dict[str, Any]:
    scope = f"{title}, {scope_of(report, of.direction)}"
    means = dict(zip(nemenyi.systems, nemenyi.mean_ranks, strict=True))
    order = sorted(means, key=lambda key: means[key])
    effects: list[list[float | None]] = [[None] * len(order) for _ in order]
    notes = [[""] * len(order) for _ in order]
    for pair in pairs:
        a, b = order.index(pair.a), order.index(pair.b)
        effects[a][b], effects[b][a] = pair.rank_biserial, -pair.rank_biserial
        notes[a][b] = notes[b][a] = p_value(pair.p_holm)
    return grid(
        [
            critical_difference(
                {system_title(report, key): mean for key, mean in means.items()},
                nemenyi.difference,
                [[system_title(report, key) for key in group] for group in nemenyi.groups],
                name=f"{scope}, critical difference",
                title="Critical difference of mean ranks",
                note=f"Nemenyi’s test at {nemenyi.alpha:g}. A bar joins methods that it does not tell apart.",
            ),
            pair_map(
                [system_title(report, key) for key in order],
                effects,
                notes,
                name=f"{scope}, pairs",
                title="Pairs",
                note="Rank-biserial correlation, above 0 where the method on the left is ranked better than that of "
                "the column’s number; under it p of Wilcoxon’s test with Holm’s correction.",
            ),
        ]
    )


def _strengths(report: Report, title: str, criterion: str, findings: Sequence[Finding]) -> dict[str, Any]:
    points = [
        Point(system_title(report, one.system), scope_of(report, of.direction), *(100 * end for end in ends(one.first)))
        for of in findings
        for one in of.strengths
    ]

    def row(place: int, system: str) -> list[Any]:
        cells: list[Any] = []
        for one in (of.strengths[place] for of in findings):
            cells.append({"text": number(100 * one.first.value, 1), "sub": span_of(one.first, 100, 1)})
            cells.append({"text": number(one.log_strength.value), "sub": span_of(one.log_strength)})
        return [system, *cells]

    return {
        "of": criterion,
        "title": "Strengths",
        "note": "The Plackett-Luce model of whole rankings: the chance of each method to be ranked first of all.",
        "blocks": [
            figure(
                interval_plot(
                    points,
                    name=f"{title}, chance to be ranked first",
                    note="In per cent; the dotted line is what chance would give.",
                    axis="Chance to be first, %",
                    colours=colours_of(report),
                    best_first=False,
                    reference=100 / len(report.study.systems),
                )
            ),
            {
                "kind": "table",
                "caption": f"{title}: chances to be first and log-strengths, with intervals of 95 %",
                "groups": _scopes(report, [of.direction for of in findings], 2),
                "head": ["Method", *["First, %", "Log-strength"] * len(findings)],
                "rows": [row(place, system.title) for place, system in enumerate(report.study.systems)],
            },
        ],
    }


def _before_after(report: Report, title: str, criterion: str) -> dict[str, Any]:
    out = report.exclusions
    pairs = [pair for pair in out.pairs() if pair[0].criterion == criterion and pair[0].rankings]
    scopes = list(dict.fromkeys(was.direction for was, _ in pairs))
    if len(report.study.directions) == 1:
        scopes = [None]

    def row(system: str) -> list[Any]:
        cells: list[Any] = []
        for scope in scopes:
            was, now = next(pair for pair in pairs if (pair[0].system, pair[0].direction) == (system, scope))
            cells.append(f"{was.total} → {now.total}")
            cells.append({"text": f"{_mean(was)} → {_mean(now)}", "sub": _change(was, now)})
        return [system_title(report, system), *cells]

    blocks: list[Block] = [{"kind": "text", "text": "Nobody is excluded, so both are the same."}]
    if out.participants:
        left_out = counted(len(out.participants), "participant")
        blocks = [
            {
                "kind": "table",
                "caption": f"{title}, before → after: {left_out} excluded",
                "groups": _scopes(report, scopes, 2),
                "head": ["Method", *["Total", "Mean rank"] * len(scopes)],
                "rows": [row(one.key) for one in report.study.systems],
            }
        ]
    return {"of": criterion, "title": "Before and after exclusions", "note": "", "blocks": blocks}


def _scopes(report: Report, directions: Sequence[str | None], span: int) -> list[dict[str, Any]]:
    """The heads of groups of columns: a direction each, all together last."""
    return [{"text": "", "span": 1}, *({"text": scope_of(report, one), "span": span} for one in directions)]


def _mean(one: Standing) -> str:
    return number(one.mean_rank) or "none"


def _change(was: Standing, now: Standing) -> str:
    return f"{now.mean_rank - was.mean_rank:+.2f}" if now.rankings else ""


def _agreement(report: Report) -> dict[str, Any]:
    return {
        "title": "Agreement between the criteria",
        "note": "Kendall’s tau of the same participants’ rankings of the same clips by two criteria: 1 the same, "
        "0 unrelated, -1 reversed.",
        "blocks": [
            {
                "kind": "table",
                "caption": "Kendall’s tau between criteria",
                "head": ["Criteria", "Direction", "Tau", "95 % interval", "Participants", "Trials"],
                "rows": [
                    [
                        f"{criterion_title(report, one.a)} and {criterion_title(report, one.b)}",
                        scope_of(report, one.direction),
                        number(one.tau.value),
                        span_of(one.tau),
                        str(one.participants),
                        str(one.trials),
                    ]
                    for one in report.agreement
                ],
            }
        ],
    }


def _reasons(tests: Iterable[Friedman | Withheld]) -> list[Block]:
    """Why tests were withheld, each reason once."""
    reasons = dict.fromkeys(test.reason for test in tests if isinstance(test, Withheld))
    return [{"kind": "text", "text": reason, "strong": True} for reason in reasons]
