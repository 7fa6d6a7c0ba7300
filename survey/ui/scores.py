"""The board of scores: totals beside those in print, how often each rank was given, mean ranks."""

from typing import Any

from survey.analysis import Analysis
from survey.report import Finding, Report, versions_told
from survey.ui import objective
from survey.ui.blocks import (
    between,
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
    scope_of,
    span_of,
    system_title,
    unranked,
    why_nothing,
)
from survey.ui.columns import Column, table_of
from survey.ui.figures import Drawing, Point, interval_plot, rank_columns


def draw(analysis: Analysis) -> dict[str, Any]:
    """Totals beside the paper's, how often each rank was given, mean ranks."""
    report = analysis.report
    if not report.participants:
        none = nothing(why_nothing(report))
        return {**none, "sections": [*none["sections"], *objective.sections(report)]}
    sections = [_totals(report), *objective.sections(report)]
    for criterion in report.study.criteria:
        findings = findings_on(report, criterion.key)
        title = criterion_title(report, criterion.key)
        if not findings:
            sections.append(unranked(criterion.key))
            continue
        sections += [
            {
                "of": criterion.key,
                "title": "Each rank",
                "note": "Every ranking gives each rank once, so each rank adds up to the number of rankings.",
                "blocks": [grid(_rank_figure(report, of, title) for of in findings)],
            },
            {
                "of": criterion.key,
                "title": "Mean ranks",
                "note": "Intervals of 95 % by resampling participants with all of their rankings (2,000 times).",
                "blocks": [
                    figure(
                        interval_plot(
                            [
                                Point(
                                    system_title(report, of.standings[n].system),
                                    scope_of(report, of.direction),
                                    *ends(mean),
                                )
                                for of in findings
                                for n, mean in enumerate(of.mean_ranks)
                            ],
                            name=f"{title}, mean ranks",
                            note="Rank 1 is the best; the dotted line is what chance would give.",
                            axis="Mean rank",
                            colours=colours_of(report),
                            reference=(len(report.study.systems) + 1) / 2,
                        )
                    ),
                    *(_standings(report, of) for of in findings),
                ],
            },
        ]
    return board(report, sections)


def _totals(report: Report) -> dict[str, Any]:
    """The table as the paper prints it, and the means, which compare whatever the number of rankings."""
    study, known = report.study, report.published
    findings = [of for of in report.findings if of.direction is None]
    k = len(study.systems)
    numbers = [of.standings[0].rankings for of in findings]
    paper = known.source if known else ""

    def columns(ours: Any, theirs: Any, form: str) -> list[Column]:
        return [
            Column(
                criterion_title(report, of.criterion),
                [ours(one) for one in of.standings],
                [theirs(of.criterion, one.key) for one in study.systems] if known else [],
                form,
            )
            for of in findings
        ]

    note = (
        f"{counted(report.participants, 'participant')}, {between(numbers)} rankings of each criterion. "
        f"Rank 1 scores {k}, rank {k} scores 1."
    )
    if report.excluded:
        included = "counted in all the same" if report.with_excluded else "left out"
        note += f" {counted(report.excluded, 'participant')} excluded, {included}."
    if told := versions_told(report):
        note += f" {told}"
    if known:
        note += f" Paper: {paper}, {known.rankings} rankings of each criterion, both directions together."
    totals = columns(
        lambda one: one.total, lambda criterion, system: known.totals[criterion][system] if known else 0, "d"
    )
    means = columns(
        lambda one: one.total / one.rankings if one.rankings else 0.0,
        lambda criterion, system: known.mean_score(criterion, system) if known else 0.0,
        ".2f",
    )
    blocks = [
        table_of(study, "Totals", totals, objective.columns(report)),
        table_of(study, f"Mean scores, 1 to {k}", means),
    ]
    if known and set(numbers) != {known.rankings}:
        words = f"The paper’s totals add up {known.rankings} rankings and these {between(numbers)}: compare the means."
        blocks.insert(1, {"kind": "text", "text": words, "strong": True})
    return {"title": "Scores", "note": note, "blocks": blocks}


def _rank_figure(report: Report, of: Finding, title: str) -> Drawing:
    counts = {system_title(report, one.system): one.rank_counts for one in of.standings}
    n = of.standings[0].rankings
    scope = scope_of(report, of.direction)
    return rank_columns(counts, name=f"{title}, ranks, {scope}", title=scope, note=f"{counted(n, 'ranking')}.")


def _standings(report: Report, of: Finding) -> dict[str, Any]:
    k = len(report.study.systems)
    return {
        "kind": "table",
        "caption": f"{scope_of(report, of.direction)}, {counted(of.standings[0].rankings, 'ranking')}",
        "head": ["Method", "Total", "Mean rank", "95 % interval", "Median rank", "First places", f"Rank 1 to {k}"],
        "rows": [
            [
                system_title(report, one.system),
                str(one.total),
                number(one.mean_rank),
                span_of(mean),
                number(one.median_rank, 1),
                str(one.first_places),
                " · ".join(map(str, one.rank_counts)),
            ]
            for one, mean in zip(of.standings, of.mean_ranks, strict=True)
        ],
    }
