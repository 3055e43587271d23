"""A source, teachers and settings small enough to run in a test: digits, that scikit-learn carries."""

from experiments.unreliable.alterations import LabelNoise
from experiments.unreliable.settings import Setting
from experiments.unreliable.sources import Part, Source
from experiments.unreliable.teachers import TeacherSpec
from preceptor.data import hold_out, load_dataset


def digits() -> Source:
    data = load_dataset("digits")
    train, test = Part(data.train.images, data.train.labels), Part(data.test.images, data.test.labels)
    teacher, students = hold_out(train.labels, 0.5, 0)
    return Source(data.class_names, train.take(teacher), train.take(students), test)


TEACHERS = {"tiny": TeacherSpec("digits", "digits", "convnet4", epochs=10)}


def setting(name: str = "tiny", **changes: object) -> Setting:
    options = {"source": "digits", "teacher": "tiny", "labels": 60, "student": "convnet4", "epochs": 1}
    return Setting(name, "A tiny setting.", "natural", "teacher", **{**options, **changes})


NOISE = LabelNoise("uniform", 0.2)
