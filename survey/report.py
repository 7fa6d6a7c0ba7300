"""The results of a study as text: Markdown to read, CSV for a spreadsheet, JSON with every test."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from survey import measured, scoring, stats
from survey.agreement import Agreement, agreement
from survey.bootstrap import Interval
from survey.concordance import Concordance, concordances, weakness
from survey.definition import Objective, Study
from survey.published import Published
from survey.scoring import Exclusions, Standing
from survey.stats import Comparison, CriticalDifference, Friedman, Withheld
from survey.strengths import Strength, strengths

# Columns of the CSV; those of the counts of each rank follow.
LEADING = (
    *("direction", "criterion", "system", "rankings", "total"),
    *("mean_rank", "mean_rank_low", "mean_rank_high", "median_rank"),
)


@dataclass(frozen=True)
class Finding:
    """What there is on one criterion, in one direction (None: pooled); all by system in the study's order."""

    criterion: str
    direction: str | None
    standings: tuple[Standing, ...]
    mean_ranks: tuple[Interval, ...]
    strengths: tuple[Strength, ...]
    friedman: Friedman | Withheld
    pairwise: tuple[Comparison, ...] | Withheld
    nemenyi: CriticalDifference | Withheld


@dataclass(frozen=True)
class Report:
    """The results of a study.

    Attributes
    ----------
    participants : who ranked at least once, the excluded left out unless `with_excluded`
    excluded : who is marked as excluded
    findings : direction by direction, the pooled ones last, and there criterion by criterion
    agreement : between the criteria, as the findings direction by direction
    exclusions : the standings before and after them
    published : figures in print of the same study, of all directions together
    concordances : of the study's objective measures, none where it has none
    versions : the numbers of those that were ranked
    heard_otherwise : some of the rankings are of other recordings than the study's as it is here
    """

    study: Study
    participants: int
    excluded: int
    with_excluded: bool
    findings: tuple[Finding, ...]
    agreement: tuple[Agreement, ...]
    exclusions: Exclusions
    published: Published | None
    concordances: tuple[Concordance, ...] = ()
    versions: tuple[int, ...] = ()
    heard_otherwise: bool = False

    @property
    def only_direction(self) -> str | None:
        """The only direction there are rankings of, else None: of which the measures stand beside the totals."""
        ranked = {of.direction for of in self.findings if of.direction is not None and of.standings[0].rankings}
        return next(iter(ranked)) if len(ranked) == 1 else None


def collect(
    study: Study,
    frame: pd.DataFrame,
    published: Published | None,
    *,
    with_excluded: bool = False,
    heard_otherwise: bool = False,
    seed: int = 0,
) -> Report:
    """All that a frame of rankings says; raises ValueError as `scoring.wide` does."""
    systems = [system.key for system in study.systems]
    criteria = [criterion.key for criterion in study.criteria]
    named = [one.key for one in study.directions]
    exclusions = scoring.exclusions(frame, systems=systems, criteria=criteria, directions=named)
    standings = exclusions.before if with_excluded else exclusions.after
    found = []
    directions = [*named, None]
    for direction in directions:
        for criterion in criteria:
            rankings = stats.select(
                frame, criterion=criterion, direction=direction, systems=systems, with_excluded=with_excluded
            )
            found.append(
                Finding(
                    criterion,
                    direction,
                    tuple(one for one in standings if (one.criterion, one.direction) == (criterion, direction)),
                    stats.mean_ranks(rankings, seed=seed),
                    strengths(rankings, seed=seed),
                    stats.friedman(rankings, seed=seed),
                    stats.pairwise(rankings, seed=seed),
                    stats.nemenyi(rankings),
                )
            )
    kept = frame if with_excluded else frame[~frame["excluded"].astype(bool)]
    return Report(
        study,
        int(kept["participant"].nunique()),
        int(frame.loc[frame["excluded"].astype(bool), "participant"].nunique()),
        with_excluded,
        tuple(found),
        tuple(
            one
            for direction in directions
            for one in agreement(frame, direction=direction, criteria=criteria, with_excluded=with_excluded, seed=seed)
        ),
        exclusions,
        published,
        _concordances(study, found),
        tuple(sorted(int(number) for number in kept["version"].unique())),
        heard_otherwise,
    )


def _concordances(study: Study, findings: list[Finding]) -> tuple[Concordance, ...]:
    if study.objective is None:
        return ()
    directions, systems = [one.key for one in study.directions], [one.key for one in study.systems]
    scores = {
        criterion.key: np.array(
            [
                [-one.mean_rank for one in of.standings]
                for of in findings
                if of.criterion == criterion.key and of.direction
            ]
        )
        for criterion in study.criteria
    }
    return concordances(study.objective, scores, (directions, systems))


def as_markdown(report: Report) -> str:
    """Totals, mean ranks and tests, each direction first and the sum of all last."""
    study = report.study
    k = len(study.systems)
    out = [f"# {study.name}: results", ""]
    out.append(f"{report.participants} participants{_excluded(report)}. Rank 1 scores {k} and rank {k} scores 1.")
    if told := versions_told(report):
        out += ["", told]
    for title, findings in _by_direction(report):
        published = report.published if findings[0].direction is None else None
        out += ["", f"## {title}", "", "Totals (higher is better):", "", *_totals(report, findings, published)]
        if published is not None:
            out += ["", f"In brackets: {published.source}, of {published.rankings} rankings for each criterion."]
        if study.objective is not None:
            out += ["", "Objective measures with intervals of 95 % over pieces:", ""]
            out += measured.table(study, study.objective, findings[0].direction)
        out += ["", "Mean ranks (lower is better) with intervals of 95 % over participants:", ""]
        out += [*_rows(report, findings, lambda of, place: _shown_interval(of.mean_ranks[place])), ""]
        out += ["Chances to be ranked first, of the Plackett-Luce model (higher is better):", ""]
        out += [*_rows(report, findings, lambda of, place: _shown_interval(of.strengths[place].first)), ""]
        out += [f"- {_title(study, of.criterion)}: {_shown_test(of.friedman)}" for of in findings]
        out += ["", *_pairs(report, findings)]
    if study.objective is not None:
        out += ["", "## Objective measures and rankings", "", *_measured(report, study.objective)]
    if report.agreement:
        out += ["", "## Agreement between the criteria", "", "Kendall's tau, -1 to 1, higher is more alike:", ""]
        titles = {one.key: one.title for one in study.directions}
        for one in report.agreement:
            names = f"{_title(study, one.a)} and {_title(study, one.b)}"
            place = "all directions" if one.direction is None else titles[one.direction]
            out.append(f"- {names}, {place}: {_shown_interval(one.tau)}")
    if report.exclusions.participants:
        out += ["", "## Before and after exclusions", "", "Totals, and mean ranks in brackets:"]
        for title, findings in _by_direction(report):
            out += ["", f"{title}:", "", *_before_after(report, findings)]
    return "\n".join(out) + "\n"


def as_csv(report: Report) -> str:
    """A row for each direction (empty: all), criterion and system."""
    k = len(report.study.systems)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    objective = report.study.objective
    ranks = [f"rank_{rank}" for rank in range(1, k + 1)]
    more = [] if objective is None else measured.csv_heads(objective)
    writer.writerow([*LEADING, *ranks, "published_total", "published_rankings", *more])
    for of in report.findings:
        for one, mean in zip(of.standings, of.mean_ranks, strict=True):
            known = report.published if of.direction is None else None
            printed = (known.totals[of.criterion][one.system], known.rankings) if known is not None else ("", "")
            if objective is not None:
                more = measured.csv_cells(objective, one.system, of.direction, known)
            writer.writerow(
                [of.direction or "", of.criterion, one.system, one.rankings, one.total]
                + [_plain(value) for value in (mean.value, mean.low, mean.high, one.median_rank)]
                + [*one.rank_counts, *printed, *more]
            )
    return out.getvalue()


def as_json(report: Report) -> str:
    """Everything; what is not a number, or was withheld, is null or says why."""
    known = report.published
    table: dict[str, Any] = {
        "study": report.study.name,
        "systems": {system.key: system.title for system in report.study.systems},
        "participants": report.participants,
        "excluded": report.excluded,
        "with_excluded": report.with_excluded,
        "versions": report.versions,
        "heard_otherwise": report.heard_otherwise,
        "findings": [asdict(of) for of in report.findings],
        "agreement": [asdict(one) for one in report.agreement],
        "exclusions": asdict(report.exclusions),
        "published": None if known is None else asdict(known),
    }
    if report.study.objective is not None:
        table["objective"] = asdict(report.study.objective)
        table["concordances"] = [asdict(one) for one in report.concordances]
    return json.dumps(_finite(table), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[Report], str]] = {"csv": as_csv, "md": as_markdown, "json": as_json}


def versions_told(report: Report) -> str:
    """Which versions are counted together, where there are several, and whether their recordings differ."""
    if len(report.versions) < 2:
        return ""
    *others, last = map(str, report.versions)
    told = f"Versions {', '.join(others)} and {last} are counted together"
    return f"{told}, whose recordings are not all the same." if report.heard_otherwise else f"{told}."


def _by_direction(report: Report) -> Iterator[tuple[str, list[Finding]]]:
    titles = {one.key: f"{one.title} ({one.key})" for one in report.study.directions}
    for direction in [*titles, None]:
        title = titles[direction] if direction is not None else "All directions together"
        yield title, [of for of in report.findings if of.direction == direction]


def _title(study: Study, criterion: str) -> str:
    return next(one.title[study.languages[0]] for one in study.criteria if one.key == criterion)


def _excluded(report: Report) -> str:
    if not report.excluded:
        return ""
    return f", {report.excluded} of them excluded" if report.with_excluded else f", {report.excluded} more excluded"


def _totals(report: Report, findings: list[Finding], published: Published | None) -> list[str]:
    def cell(of: Finding, place: int) -> str:
        one = of.standings[place]
        return str(one.total) if published is None else f"{one.total} ({published.totals[of.criterion][one.system]})"

    objective = report.study.objective
    if objective is None:
        return _rows(report, findings, cell)
    direction = findings[0].direction
    heads, more = measured.heads(objective), measured.cells
    return _rows(report, findings, cell, heads, lambda system: more(objective, system, direction, published))


def _before_after(report: Report, findings: list[Finding]) -> list[str]:
    changes = {(was.criterion, was.direction, was.system): (was, now) for was, now in report.exclusions.pairs()}

    def cell(of: Finding, place: int) -> str:
        pair = changes[of.criterion, of.direction, of.standings[place].system]
        return " → ".join(f"{one.total} ({one.mean_rank:.2f})" if one.rankings else "none" for one in pair)

    return _rows(report, findings, cell)


def _rows(
    report: Report,
    findings: list[Finding],
    cell: Callable[[Finding, int], str],
    heads: Sequence[str] = (),
    more: Callable[[str], Sequence[str]] = lambda _: (),
) -> list[str]:
    """A table, systems down and criteria across; `more` are the cells of a system under further heads."""
    titles = [*(_title(report.study, of.criterion) for of in findings), *heads]
    return [
        f"| | {' | '.join(titles)} |",
        "|---|" + "---:|" * len(titles),
        *(
            f"| {system.title} | {' | '.join([*(cell(of, place) for of in findings), *more(system.key)])} |"
            for place, system in enumerate(report.study.systems)
        ),
    ]


def _measured(report: Report, objective: Objective) -> list[str]:
    study = report.study
    systems = [system.key for system in study.systems]
    known, otherwise = report.published, report.heard_otherwise
    told = [measured.about(objective, systems, published=known, heard_otherwise=otherwise)]
    if report.participants:
        criteria = {one.key: _title(study, one.key) for one in study.criteria}
        found = report.concordances
        told += ["", "Kendall's tau, 1 where a measure orders the systems as the participants do, with exact p:", ""]
        told += [*measured.concordance_table(objective, criteria, found), "", weakness(found)]
    return told


def _shown_interval(one: Interval) -> str:
    if math.isnan(one.value):
        return "none"
    return f"{one.value:.2f}" if math.isnan(one.low) else f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def _shown_test(test: Friedman | Withheld) -> str:
    if isinstance(test, Withheld):
        return test.reason
    return (
        f"Friedman chi-square({test.df}) = {test.chi_square:.2f}, p {_shown_p(test.p_chi_square)}; Iman-Davenport "
        f"F({test.df}, {test.df_error}) = {test.f:.2f}, p {_shown_p(test.p_f)}; permutation p "
        f"{_shown_p(test.p_permutation)}; Kendall's W = {test.kendall_w:.3f}"
    )


def _pairs(report: Report, findings: list[Finding]) -> list[str]:
    """Which systems differ by each criterion; nothing where the tests were withheld, which is told above."""
    titles = {system.key: system.title for system in report.study.systems}
    out = []
    for of in findings:
        if isinstance(of.pairwise, Withheld):
            continue
        least = (
            ""
            if isinstance(of.nemenyi, Withheld)
            else f"; critical difference of mean ranks {of.nemenyi.difference:.2f}"
        )
        out += [f"{_title(report.study, of.criterion)}, Wilcoxon's signed ranks with Holm's correction{least}:", ""]
        out += ["| | mean score, difference | p (Holm) | rank-biserial |", "|---|---:|---:|---:|"]
        out += [
            f"| {titles[one.a]} and {titles[one.b]} | {_shown_interval(one.difference)} | {_shown_p(one.p_holm)} "
            f"| {one.rank_biserial:+.2f} |"
            for one in of.pairwise
        ]
        out.append("")
    return out


def _shown_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _finite(value: Any) -> Any:
    """The same without numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
