import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from preceptor.errors import InputError
from preceptor.teachers.base import Teacher
from preceptor.teachers.classifier import ClassifierTeacher
from tests.teachers.fixed_rows import logits_of, shown
from tests.training_helpers import digits, few


def context():
    taught = digits().train.take(few(100))
    return taught.images, taught.images.numpy().reshape(100, -1) / 255, taught.labels.numpy()


class Telling:
    """Has classes, and says the same of every image."""

    def __init__(self, classes, row):
        self.classes_, self.row = np.asarray(classes), row

    def predict_proba(self, X):
        return np.array([self.row] * len(X))


@pytest.mark.parametrize(
    "classifier",
    [LogisticRegression(max_iter=200), make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))],
    ids=["bare", "pipeline"],
)
def test_it_returns_what_the_classifier_says(classifier):
    images, rows, labels = context()
    teacher = ClassifierTeacher(classifier.fit(rows, labels))
    logits = teacher.outputs(images[:20], torch.arange(20), torch.zeros(20, dtype=torch.int64)).logits
    assert isinstance(teacher, Teacher)
    assert teacher.classes == 10
    assert logits.dtype == torch.float32
    np.testing.assert_allclose(logits.softmax(dim=1), classifier.predict_proba(rows[:20]), atol=1e-6)


def test_pixels_are_flattened_by_channel_then_row_and_lie_between_0_and_1():
    class Looking(Telling):
        def predict_proba(self, X):
            self.seen = X
            return super().predict_proba(X)

    classifier = Looking([0, 1], [0.5, 0.5])
    logits_of(ClassifierTeacher(classifier), n=2, shape=(3, 4, 5))
    expected = [[float(pixel) / 255 for pixel in image.flatten()] for image in shown(2, (3, 4, 5))]
    assert classifier.seen.tolist() == expected


def test_classes_in_another_order_are_put_right():
    logits = logits_of(ClassifierTeacher(Telling([2, 0, 1], [0.7, 0.1, 0.2])), n=1)
    assert logits.softmax(dim=1)[0].tolist() == pytest.approx([0.1, 0.2, 0.7])


@pytest.mark.parametrize("classes", [[0, 1, 3], [1, 2], ["cat", "dog"], [0, 0, 1], [[0, 1], [0, 1]], [0, np.nan]])
def test_other_classes_are_refused(classes):
    with pytest.raises(InputError, match=r"teacher Telling: classes_ is .* expected all of 0 to C - 1"):
        ClassifierTeacher(Telling(classes, [0.5, 0.5]))


def test_one_that_is_not_fitted_is_refused():
    with pytest.raises(InputError, match="LogisticRegression: no classes_: fit it"):
        ClassifierTeacher(LogisticRegression())


def test_one_without_probabilities_is_refused():
    _, rows, labels = context()
    with pytest.raises(InputError, match="SVC: no predict_proba"):
        ClassifierTeacher(SVC().fit(rows, labels))


def test_images_of_another_size_are_refused():
    _, rows, labels = context()
    teacher = ClassifierTeacher(LogisticRegression(max_iter=200).fit(rows, labels))
    with pytest.raises(InputError, match=r"cannot take images of 16 values .*expecting 64"):
        logits_of(teacher)


@pytest.mark.parametrize("row", [[0.6, 0.6], [np.nan, 1.0], [-0.5, 1.5]])
def test_probabilities_that_are_none_are_refused_naming_the_image(row):
    teacher = ClassifierTeacher(Telling([0, 1], row))
    with pytest.raises(InputError, match="teacher Telling: training image 40: "):
        teacher.outputs(shown(2), torch.tensor([40, 3]), torch.zeros(2, dtype=torch.int64))


def test_an_answer_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"shape \(3, 2\) for 3 images and 3 classes"):
        logits_of(ClassifierTeacher(Telling([0, 1, 2], [0.5, 0.5])))
