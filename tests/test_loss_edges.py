"""The loss at its edges: unlabeled samples, other types, abstaining students, no teacher, misuse."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor import (
    KL,
    BatchContext,
    CrossEntropy,
    DistillationLoss,
    DropWrong,
    Fixed,
    Gambler,
    InputError,
    LabelRevision,
    LabelSmoothing,
    LossTerm,
    recipe_names,
)
from tests.examples import EVERYTHING, LABEL, STUDENT, TEACHER, learned, ready, suited


class TestUnlabeled:
    @pytest.mark.parametrize("correction", [LabelRevision(apply_to="all"), LabelSmoothing(apply_to="all")], ids=repr)
    def test_corrections_skip_them(self, correction: Any) -> None:
        audit = DistillationLoss(correction=correction, loss=KL())(STUDENT, TEACHER, LABEL).audit
        assert audit is not None
        assert audit.corrected.tolist() == [True, True, True, False]
        assert torch.equal(audit.target[3], audit.teacher_log_probs[3])

    def test_the_teacher_alone_teaches_them(self) -> None:
        _, gradient = learned(DistillationLoss(loss=KL(), label_loss=CrossEntropy()), STUDENT, TEACHER, LABEL)
        _, by_teacher = learned(DistillationLoss(loss=KL()), STUDENT, TEACHER, LABEL)
        assert torch.equal(gradient[3], by_teacher[3])

    @pytest.mark.parametrize("name", recipe_names())
    def test_a_batch_without_any_label_is_finite(self, name: str) -> None:
        loss = ready(name, classes=3)
        terms, gradient = learned(loss, suited(loss, STUDENT), TEACHER, torch.full_like(LABEL, -1))
        assert terms.total.isfinite()
        assert gradient.isfinite().all()


class TestTypes:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, dtype: torch.dtype) -> None:
        student, teacher = STUDENT.to(dtype), TEACHER.to(dtype)
        terms, gradient = learned(DistillationLoss(**EVERYTHING), student, teacher, LABEL)
        expected, full = learned(DistillationLoss(**EVERYTHING), student.float(), teacher.float(), LABEL)
        assert terms.total.dtype == torch.float32
        assert gradient.dtype == dtype
        assert torch.equal(terms.total, expected.total)
        assert torch.equal(gradient, full.to(dtype))

    def test_float64_stays_float64(self) -> None:
        terms = DistillationLoss(**EVERYTHING)(STUDENT.double(), TEACHER.double(), LABEL)
        assert terms.total.dtype == torch.float64
        assert terms.audit is not None
        assert terms.audit.target.dtype == torch.float64

    def test_autocast_changes_nothing(self) -> None:
        expected, gradient = learned(DistillationLoss(**EVERYTHING), STUDENT, TEACHER, LABEL)
        with torch.autocast("cpu", torch.bfloat16):
            terms, under_autocast = learned(DistillationLoss(**EVERYTHING), STUDENT, TEACHER, LABEL)
        assert torch.equal(terms.total, expected.total)
        assert torch.equal(under_autocast, gradient)

    @pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32])
    def test_labels_of_any_integer_type(self, dtype: torch.dtype) -> None:
        expected = DistillationLoss(**EVERYTHING)(STUDENT, TEACHER, LABEL).total
        assert torch.equal(DistillationLoss(**EVERYTHING)(STUDENT, TEACHER, LABEL.to(dtype)).total, expected)

    def test_unsigned_labels(self) -> None:
        label = LABEL[:3].to(torch.uint8)
        terms = DistillationLoss(**EVERYTHING)(STUDENT[:3], TEACHER[:3], label)
        assert torch.equal(terms.total, DistillationLoss(**EVERYTHING)(STUDENT[:3], TEACHER[:3], LABEL[:3]).total)

    def test_right_or_wrong_is_decided_on_the_raw_logits_ties_to_the_smallest_index(self) -> None:
        close = torch.tensor([[1.0, 1.0 + 1e-6, 0.0], [2.0, 2.0, 2.0]])
        audit = DistillationLoss(temperature=Fixed(100.0), loss=KL())(STUDENT[:2], close, torch.tensor([1, 1])).audit
        assert audit is not None
        assert audit.teacher_class.tolist() == [1, 0]


class TestAbstainingStudent:
    def test_losses_get_the_classes_alone(self) -> None:
        loss = DistillationLoss(loss=KL())
        wider = torch.cat([STUDENT, torch.full((4, 1), 9.0)], dim=1)
        terms, gradient = learned(loss, wider, TEACHER, LABEL)
        narrow, expected = learned(loss, STUDENT, TEACHER, LABEL)
        assert torch.equal(terms.total, narrow.total)
        assert torch.equal(gradient, torch.cat([expected, torch.zeros(4, 1)], dim=1))

    def test_the_context_has_every_output_and_plain_label_losses_get_the_classes(self) -> None:
        seen = []

        def weights(context: BatchContext) -> Tensor:
            seen.append(context.student_logits.shape[1])
            return torch.ones(4)

        wider = torch.cat([STUDENT, torch.zeros(4, 1)], dim=1)
        _, gradient = learned(
            DistillationLoss(selection=weights, loss=KL(), label_loss=CrossEntropy()), wider, TEACHER, LABEL
        )
        assert seen == [4]
        assert (gradient[:, 3] == 0).all()


class TestWithoutTeacher:
    def test_a_loss_of_labels_alone_needs_none_and_ignores_one(self) -> None:
        loss = DistillationLoss(label_loss=CrossEntropy())
        without, given = loss(STUDENT, None, LABEL), loss(STUDENT, TEACHER, LABEL)
        assert not loss.uses_teacher
        assert without.audit is None
        assert torch.equal(without.total, given.total)

    @pytest.mark.parametrize("where", ["right", "wrong"])
    def test_a_loss_that_uses_the_teacher_names_missing_logits(self, where: str) -> None:
        for loss in (
            DistillationLoss(loss=KL()),
            DistillationLoss(terms={"ce": LossTerm(CrossEntropy(), where=where)}),
        ):
            assert loss.uses_teacher
            with pytest.raises(InputError, match="teacher_logits is None"):
                loss(STUDENT, None, LABEL)


class TestComponentsWithParameters:
    def test_are_submodules_whose_parameters_are_trained_and_saved(self) -> None:
        loss = DistillationLoss(temperature=Warmth(), loss=KL())
        assert [name for name, _ in loss.named_parameters()] == ["temperature.log_temperature"]
        learned(loss, STUDENT, TEACHER, LABEL)
        [parameter] = loss.parameters()
        assert parameter.grad is not None
        assert parameter.grad != 0
        other = DistillationLoss(temperature=Warmth(), loss=KL())
        with torch.no_grad():
            parameter.add_(1.0)
        other.load_state_dict(loss.state_dict())
        assert torch.equal(other(STUDENT, TEACHER, LABEL).total, loss(STUDENT, TEACHER, LABEL).total)

    def test_the_audit_detaches_their_values(self) -> None:
        audit = DistillationLoss(temperature=Warmth(), loss=KL())(STUDENT, TEACHER, LABEL).audit
        assert audit is not None
        assert isinstance(audit.temperature, Tensor)
        assert not any(value.requires_grad for value in (audit.temperature, audit.teacher_log_probs, audit.target))

    def test_a_loss_without_them_has_nothing_to_save(self) -> None:
        assert DistillationLoss(**EVERYTHING).state_dict() == {}


class Warmth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, context: BatchContext) -> Tensor:
        return self.log_temperature.exp()


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "at least one term"),
            ({"correction": LabelRevision()}, "at least one term"),
            ({"correction": KL(), "loss": KL()}, "correction=KL: it is a loss;"),
            ({"correction": Fixed(), "loss": KL()}, "correction=Fixed: it is a temperature;"),
            ({"temperature": DropWrong(), "loss": KL()}, "temperature=DropWrong: it is a selection;"),
            ({"selection": Fixed(), "loss": KL()}, "selection=Fixed: it is a temperature;"),
            ({"loss": CrossEntropy()}, "loss=CrossEntropy: it is a label_loss;"),
            ({"loss": LabelRevision()}, "loss=LabelRevision: it is a correction;"),
            ({"label_loss": KL()}, "label_loss=KL: it is a loss;"),
            ({"correction": "ps", "loss": KL()}, "correction=str: not a correction"),
            ({"loss": "kl"}, "loss=str: not a loss"),
            ({"loss": KL(), "terms": {"kl": LossTerm(KL())}}, "two terms share a name"),
            ({"terms": {"my-term": LossTerm(KL())}}, "a term cannot be called 'my-term'"),
            ({"terms": {"items": LossTerm(KL())}}, "a term cannot be called 'items'"),
            ({"terms": {"kl": LossTerm(KL(), where="selected")}}, "selection is None: give one"),
        ],
    )
    def test_invalid_arguments_are_refused_with_the_reason(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            DistillationLoss(**arguments)

    @pytest.mark.parametrize(
        ("student", "teacher", "label", "message"),
        [
            (STUDENT[0], TEACHER, LABEL, r"student logits \(3,\) and labels \(4,\): expected \[batch, outputs\]"),
            (STUDENT, TEACHER, LABEL[:3], r"student logits \(4, 3\) and labels \(3,\)"),
            (STUDENT, TEACHER, LABEL.unsqueeze(1), r"labels \(4, 1\)"),
            (STUDENT, TEACHER, LABEL.float(), "labels of type torch.float32: expected class numbers"),
            (STUDENT, TEACHER, LABEL > 0, "labels of type torch.bool"),
            (STUDENT, TEACHER[:2], LABEL, r"teacher logits \(2, 3\) do not go with student logits \(4, 3\)"),
            (STUDENT, TEACHER[:, 0], LABEL, r"teacher logits \(4,\)"),
            (STUDENT, TEACHER[:, :1], LABEL, "the teacher has 1 classes, the student 3 outputs"),
            (STUDENT[:, :2], TEACHER, LABEL, "the teacher has 3 classes, the student 2 outputs"),
        ],
    )
    def test_tensors_that_do_not_fit_are_named_with_their_shapes(
        self, student: Tensor, teacher: Tensor, label: Tensor, message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            DistillationLoss(**EVERYTHING)(student, teacher, label)

    @pytest.mark.parametrize("label", [3, -2, -100])
    def test_a_label_that_is_no_class_is_named(self, label: int) -> None:
        labels = torch.tensor([0, 1, 2, label])
        message = f"label {label} is outside the 3 classes: expected 0 to 2, or -1"
        with pytest.raises(InputError, match=message):
            DistillationLoss(loss=KL())(STUDENT, TEACHER, labels)
        with pytest.raises(InputError, match=message):
            DistillationLoss(label_loss=CrossEntropy())(STUDENT, None, labels)

    def test_the_reservation_is_no_class_to_be_labeled(self) -> None:
        student = torch.zeros(1, 4)
        with pytest.raises(InputError, match="label 3 is outside the 3 classes"):
            DistillationLoss(label_loss=Gambler())(student, None, torch.tensor([3]))

    def test_a_compiled_loss_leaves_the_labels_unread(self) -> None:
        torch._dynamo.reset()
        loss = DistillationLoss(label_loss=CrossEntropy())
        loss.compile(fullgraph=True, backend="eager")
        torch.testing.assert_close(
            loss(STUDENT, None, LABEL).total, DistillationLoss(label_loss=CrossEntropy())(STUDENT, None, LABEL).total
        )
