"""The page of an audit: who is wrong where teacher and label disagree, what to try first, and every disagreement."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor.audit import TeacherAudit, advise, plain
from preceptor.audit.effects import TEMPERATURE, Effect
from preceptor.audit.verdicts import DEPTHS, SYSTEMATIC_COUNT, SYSTEMATIC_EXCESS
from preceptor.compare.format import counted, percent
from preceptor.context import VERDICTS
from preceptor.metrics.report import PartReport
from preceptor.reports.audit_charts import MOST_PAIRS, SHOWN, ConfusedPair, live_pairs, pairs_of
from preceptor.reports.audit_gallery import cards, left_out
from preceptor.reports.chart import label
from preceptor.reports.class_errors import MOST_CLASSES, class_errors
from preceptor.reports.live_charts import LEAST_IN_BIN, live_errors, live_reliability
from preceptor.reports.page import render, write_page
from preceptor.reports.vega import with_scripts
from preceptor.run.evaluation_text import calibration_rows, estimate_of_share

TEMPLATE = "audit_page.html.j2"

MOST_ROWS = 200
"""Rows of a table of classes or pairs at most; all are in the audit's files."""
MOST_NAMED = 12
"""Systematic pairs named in a sentence."""


@dataclass(frozen=True)
class PairRow:
    """A pair of classes for the table.

    Attributes:
        key: by which the gallery is filtered.
        label: the class's name.
        teacher: that of the teacher's class.
        samples: disagreements.
        shares: of them by verdict, count and per cent.
        systematic: more frequent than others by far.
    """

    key: str
    label: str
    teacher: str
    samples: int
    shares: list[str]
    systematic: bool


def audit_page(audit: TeacherAudit) -> str:
    """The page as HTML, at most 10 MB. It loads nothing from elsewhere, and runs its own scripts only.

    Raises:
        MachineError: the extra ``report`` is not installed.
    """
    return render(TEMPLATE, lambda: _content(audit))


def write_audit_page(audit: TeacherAudit, path: Path) -> None:
    """Write the page, in the place of whatever file is there.

    Raises:
        MachineError: it cannot be written, or the extra ``report`` is not installed.
    """
    write_page(audit_page(audit), path)


def headline(audit: TeacherAudit) -> str:
    """What was found, in a few sentences."""
    report, verdict = audit.report, audit.verdicts.at("likely")
    accuracy = f"The teacher names the given label of {estimate_of_share(report.accuracy)} of {report.n:,} images"
    if len(verdict) == 0:
        return f"{accuracy}: there is no disagreement to judge."
    teacher, labels, unclear = (int((verdict == number).sum()) for number in range(len(VERDICTS)))
    return (
        f"{accuracy}; on {len(verdict):,} the two disagree. Probably wrong there: the label on {labels:,}, the teacher "
        f"on {teacher:,}; on {unclear:,} it can't be told. This is judged from {evidence(audit)}."
    )


def evidence(audit: TeacherAudit) -> str:
    """What the verdicts were judged from."""
    witnesses = "the teacher, the second opinion"
    match audit.verdicts.base_rate.source:
        case "bounds":
            return "the teacher and the second opinion alone, without knowing how often the teacher is right"
        case "teacher accuracy":
            return f"{witnesses}, and the teacher's accuracy on trusted data"
        case "gold" if audit.gold is not None:
            return f"{witnesses}, and {counted(int((audit.gold >= 0).sum()), 'checked label')}"
        case _:
            return f"{witnesses}, and a range of the teacher's accuracy"


def label_error_in_words(audit: TeacherAudit) -> str:
    """The share of wrong labels, as a number or a range."""
    low, high = audit.label_error
    share = percent(low, 1) if round(low, 3) == round(high, 3) else f"between {percent(low, 1)} and {percent(high, 1)}"
    return f"Of the {audit.report.n:,} labels, {share} are estimated to be wrong where the teacher is right."


def _content(audit: TeacherAudit) -> dict[str, Any]:
    names, content = audit.dataset.class_names, plain(audit)
    pairs, shown = pairs_of(audit), cards(audit)
    wrong = [None if part.accuracy.value is None else 1 - part.accuracy.value for part in audit.report.per_class]
    errors = class_errors(names, [wrong])
    return {
        "audit": audit,
        "title": f"A teacher audited on {audit.dataset.name}",
        "headline": headline(audit),
        "advice": advise(audit),
        "depths": {name: percent(least, 0) for name, least in DEPTHS.items()},
        "verdicts": [
            (SHOWN[n], [content["verdicts"][depth][name] for depth in DEPTHS]) for n, name in enumerate(VERDICTS)
        ],
        "label_error": label_error_in_words(audit),
        "issues": content["issues"],
        "error_chart": live_errors(errors, "How often the teacher contradicts the given label, by class"),
        "most_classes": MOST_CLASSES,
        "classes": _class_rows(audit, pairs),
        "reliability": live_reliability(
            [audit.report.calibration.reliability],
            "How often the teacher names the given label, by its confidence",
            "names the given label (accuracy)",
        ),
        "least_in_bin": LEAST_IN_BIN,
        "calibration": calibration_rows(audit.report),
        "pairs_chart": live_pairs(pairs, names) if pairs else None,
        "pairs": [_pair_row(pair, names) for pair in pairs[:MOST_ROWS]],
        "all_pairs": len(pairs),
        "systematic": _systematic(pairs, names),
        "most_pairs": MOST_PAIRS,
        "effects": [(kind, _effect_rows(audit.effects, kind)) for kind in ("correction", "temperature", "selection")],
        "fixed_temperature": f"{TEMPERATURE:g}",
        "members": _member_rows(audit),
        "cards": shown,
        "left_out": left_out(audit, shown),
        "pair_choices": _pair_choices(pairs, names, {card.pair for card in shown}),
        "caveats": _caveats(audit),
        "facts": _facts(audit, content["versions"]),
        **with_scripts("charts.js", "audit.js"),
    }


def _class_rows(audit: TeacherAudit, pairs: list[ConfusedPair]) -> list[tuple[str, int, list[str]]]:
    """By label, those that the teacher contradicts most often first: name, images, accuracy, confidence, verdicts."""
    wrong = {number: [0] * len(VERDICTS) for number in range(audit.dataset.classes)}
    for pair in pairs:
        wrong[pair.label] = [a + b for a, b in zip(wrong[pair.label], pair.counts, strict=True)]

    def contradicted(numbered: tuple[int, PartReport]) -> float:
        return numbered[1].accuracy.value if numbered[1].accuracy.value is not None else 2.0

    ordered = sorted(enumerate(audit.report.per_class), key=contradicted)
    return [
        (
            label(part.name, 40),
            part.n,
            [
                estimate_of_share(part.accuracy, 1),
                estimate_of_share(part.mean_confidence, 1),
                *(f"{count:,}" for count in wrong[number]),
            ],
        )
        for number, part in ordered[:MOST_ROWS]
    ]


def _pair_row(pair: ConfusedPair, names: tuple[str, ...]) -> PairRow:
    return PairRow(
        key=_key(pair),
        label=label(names[pair.label], 40),
        teacher=label(names[pair.teacher], 40),
        samples=pair.samples,
        shares=[f"{count:,} ({percent(count / pair.samples, 0)})" for count in pair.counts],
        systematic=pair.systematic,
    )


def _systematic(pairs: list[ConfusedPair], names: tuple[str, ...]) -> str:
    """The systematic pairs in a sentence."""
    often = [f"{pair.name(names)} ({pair.samples:,})" for pair in pairs if pair.systematic]
    what = (
        f"systematic, that is {SYSTEMATIC_EXCESS:g} times as frequent as the mean of all pairs, and at least "
        f"{SYSTEMATIC_COUNT} images"
    )
    if not often:
        return f"No pair is {what}."
    rest = f", and {len(often) - MOST_NAMED:,} more" if len(often) > MOST_NAMED else ""
    return f"Marked * are those that are {what}: {', '.join(often[:MOST_NAMED])}{rest}."


def _pair_choices(pairs: list[ConfusedPair], names: tuple[str, ...], shown: set[str]) -> list[tuple[str, str]]:
    return [(_key(pair), f"{pair.name(names, 24)} ({pair.samples:,})") for pair in pairs if _key(pair) in shown]


def _key(pair: ConfusedPair) -> str:
    return f"{pair.label}-{pair.teacher}"


def _effect_rows(effects: list[Effect], kind: str) -> list[tuple[str, int, str, int]]:
    """Name, samples, how far, and how many of them with a label that is probably wrong."""

    def far(effect: Effect) -> str:
        if effect.change is None:
            return "left out or weighed less"
        return percent(effect.change, 1) if kind == "correction" else f"{effect.change:.2f}"

    return [
        (effect.name.replace("_", " "), effect.samples, far(effect), effect.label_wrong)
        for effect in effects
        if effect.kind == kind
    ]


def _member_rows(audit: TeacherAudit) -> list[tuple[str, list[str]]]:
    return [
        (
            member.name,
            [
                percent(member.accuracy),
                percent(member.confidence),
                "–" if member.ratio is None else f"{member.ratio:.2f}",
            ],
        )
        for member in audit.members
    ]


def _caveats(audit: TeacherAudit) -> list[str]:
    opinion, accuracy = audit.opinion, audit.report.accuracy.value or 0.0
    likely = percent(DEPTHS["likely"], 0)
    trained = len(opinion.tables) > 1
    return [
        f"The verdicts are judged from {evidence(audit)}. Without --teacher-accuracy or --gold the share of wrong "
        "labels is only bounded, and a verdict holds at both bounds.",
        f"The second opinion is {opinion.name}. It names the given label of {percent(opinion.accuracy, 1)} of the "
        f"images, the teacher of {percent(accuracy, 1)}: the weaker it is, the less it decides"
        + (". Its probabilities over the epochs of training count as a witness of their own." if trained else "."),
        "A teacher looks right on what it was trained on, wrong labels too. If it learned from these images, audit it "
        "on others, or see preceptor crossfit.",
        f"A verdict is a probability of at least {likely}, not a proof: some of them are wrong. Look at the images.",
        "Only disagreements are judged. A wrong label that the teacher repeats is not found, and where both are wrong, "
        "no verdict says so.",
    ]


def _facts(audit: TeacherAudit, versions: dict[str, str]) -> list[tuple[str, str]]:
    checked = [] if audit.gold is None else [("checked labels", f"{int((audit.gold >= 0).sum()):,}")]
    return [
        ("data", audit.dataset.name),
        ("images", f"{len(audit.dataset.train):,}"),
        ("without a label", f"{audit.report.unlabeled:,}"),
        ("classes", f"{audit.dataset.classes:,}"),
        ("teacher", audit.teacher),
        ("second opinion", audit.opinion.name),
        *checked,
        *versions.items(),
        ("fingerprint of the data", audit.data_fingerprint),
    ]
