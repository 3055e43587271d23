"""What is measured of every arm, and the headings of the table's columns."""

COVERAGES = (95, 90, 85, 80, 70)
"""Shares of the test set, in per cent, at which a student that abstains on the rest is measured."""

RESERVATION = "_reservation"
"""Ends the name of a measure whose confidence is one minus the extra output's probability."""

SECOND = "_second"
"""Ends the name of a measure, before ``_difference``, whose difference is to an arm's second baseline."""

_SHARES = {
    "accuracy": "accuracy",
    **{f"error_at_{coverage}": f"error at {coverage} % coverage" for coverage in COVERAGES},
    "aurc": "AURC",
    "augrc": "AUGRC",
}
_BY_RESERVATION = {
    name + RESERVATION: f"{heading} by reservation" for name, heading in _SHARES.items() if name != "accuracy"
}
_OTHERS = {
    "ece": "ECE",
    "reservation": "mean reservation",
    "corrected": "corrected",
    "clamped": "temperature clamped",
    "taught": "training images taught by the teacher",
}
_COMPARED = {**_SHARES, "ece": _OTHERS["ece"]}

MEASURES = {**_SHARES, **_BY_RESERVATION, **_OTHERS, "temperature": "mean temperature"}
"""What is measured of every arm where it applies. All but the temperature are shares, 0 to 1:

- ``accuracy``: on the test set, once, after the last epoch.
- ``error_at_N``: error on the N % of the test set with the highest confidence, the largest class probability (softmax
  response). ``aurc``: mean of that error over all coverages; ``augrc``: mean, over all coverages, of the share of the
  whole test set that is answered and wrong. Lower is better.
- ``ece``: expected calibration error of the largest class probability, 15 bins of equal width.
- ``error_at_N_reservation``, ``aurc_reservation``: the same with the student's reservation as uncertainty.
- ``reservation``: mean probability of the extra output on the test set.
- ``corrected``, ``clamped``: shares of the samples seen in training. ``temperature``: mean over them.
- ``taught``: share of the training images that the selection distills.
"""

_POINTS = "points [95 % interval]"

COLUMNS: dict[str, str] = {
    **{name: f"{heading}, %" for name, heading in MEASURES.items() if name != "temperature"},
    "temperature": MEASURES["temperature"],
    "difference": f"difference{{to}}, {_POINTS}",
    **{f"{name}_difference": f"{heading}: difference{{to}}, {_POINTS}" for name, heading in _COMPARED.items()},
    **{
        f"{name}{SECOND}_difference": f"{heading}: difference to the arm named, {_POINTS}"
        for name, heading in _COMPARED.items()
    },
    **{
        f"{name}_difference": f"{heading}: difference to softmax response, {_POINTS}"
        for name, heading in _BY_RESERVATION.items()
    },
    "affected": "samples affected",
    "recovery": "recovery ratio (range over seeds)",
}
"""Headings by column; ``{to}`` stands for what differences are taken to."""
