"""What the columns of a study's table hold, and what the measures behind them are called."""

COVERAGES = (95, 90, 85, 80, 70)
"""Shares of the test set, in per cent, at which the error is measured when a student may decline the rest."""

RESERVATION = "_reservation"
"""Ends the name of a measure for which confidence is one minus the extra output's probability."""

ALSO = "_also"
"""Ends the name of a measure, before ``_difference``, of which the difference is to the second rival of an arm."""

_BY_RESERVATION = " by reservation"

_SHARES = {
    "accuracy": "accuracy",
    **{f"error_at_{coverage}": f"error at {coverage} % coverage" for coverage in COVERAGES},
    "aurc": "AURC",
    "augrc": "AUGRC",
}
_ABSTAINING = {name + RESERVATION: said + _BY_RESERVATION for name, said in _SHARES.items() if name != "accuracy"}
_OTHERS = {
    "ece": "ECE",
    "reservation": "mean reservation",
    "corrected": "corrected",
    "clamped": "temperature clamped",
    "taught": "training_images taught by the teacher",
}

_COMPARED = {**_SHARES, "ece": _OTHERS["ece"]}

MEASURES = {**_SHARES, **_ABSTAINING, **_OTHERS, "temperature": "mean temperature"}
"""What is measured of every arm where it applies, by name. All but the temperature are shares, 0 to 1:

- ``accuracy``: on the test set, once, after the last epoch.
- ``error_at_N``: error on the N % of the test set of which the student is surest, by the largest probability among the
  classes (softmax response). ``aurc``: mean of that error over all coverages; ``augrc``: mean, over all coverages, of
  the share of the whole test set that is answered and wrong. All are better when lower.
- ``ece``: expected calibration error of the largest probability among the classes, 15 bins of equal width.
- ``error_at_N_reservation``, ``aurc_reservation``: the same with the student's reservation for its uncertainty.
- ``reservation``: mean probability of the extra output on the test set.
- ``corrected``, ``clamped``: shares of the samples met in training. ``temperature``: mean over them.
- ``taught``: share of the training_images on which a selection listens to the teacher.
"""

NOTES = {
    "affected": "“Samples affected” counts the images on which the recipe corrects the teacher or does not listen to it.",
    "error_at": (
        "The error at a coverage is that on the part of the test set of which a student is surest, by its largest "
        "class probability, or by its reservation where that is named; AURC is its mean over all coverages. Lower is "
        "better."
    ),
    "augrc": (
        "AUGRC is the mean, over all coverages, of the share of the whole test set that is answered and wrong; lower "
        "is better."
    ),
    "ece": "ECE is the expected calibration error of the largest class probability in 15 bins; lower is better.",
    "taught": "Of the training_images taught by the teacher, the rest is taught by labels alone.",
    "temperature": "Temperature is the mean over the samples met in training.",
    "clamped": "Clamped are the samples whose temperature was raised to the lowest that is allowed.",
    "repair": (
        "The repair ratio is the share of what the bad teacher costs the baseline that a recipe makes good: 0 is no "
        "better than the baseline, 1 as good as the baseline with the clean teacher; of the means over seeds."
    ),
}
"""What a reader is told about columns whose names begin so."""

COLUMNS: dict[str, str] = {
    **{name: f"{said}, %" for name, said in MEASURES.items() if name != "temperature"},
    "temperature": MEASURES["temperature"],
    "difference": "difference{to}, points [95 % interval]",
    **{f"{name}_difference": f"{said}: difference{{to}}, points [95 % interval]" for name, said in _COMPARED.items()},
    **{
        f"{name}{ALSO}_difference": f"{said}: difference to the arm named, points [95 % interval]"
        for name, said in _COMPARED.items()
    },
    **{
        f"{name}_difference": f"{said}: difference to softmax response, points [95 % interval]"
        for name, said in _ABSTAINING.items()
    },
    "affected": "samples affected",
    "repair": "repair ratio (range over seeds)",
}
"""Headings by column; ``{to}`` stands for what differences are taken to."""
