from preceptor.compare import DEMO
from preceptor.data import hold_out, subset, swap_pairs
from tests.training_helpers import digits


def test_it_can_be_run_and_leaves_no_recipe_out_because_it_is_unflattering():
    DEMO.check()
    recipes = {arm.recipe for arm in DEMO.arms}
    assert {"none", "kd", "label-revision", "label-revision-kl", "ka-ps", "ka-lsr", "cmkd", "drop-wrong"} <= recipes
    assert DEMO.baseline == "kd"
    assert len(DEMO.seeds) >= 3
    assert DEMO.data == "digits"


def test_every_4_and_9_of_the_teacher_has_the_other_label_and_nothing_else_is_wrong():
    labels = digits().train.labels
    swapped = swap_pairs(labels, DEMO.pairs, DEMO.teachers[0].rate, 0)
    exchanged = labels.clone()
    exchanged[labels == 4], exchanged[labels == 9] = 9, 4
    assert swapped.equal(exchanged)


def test_students_learn_from_images_of_every_class_that_the_teacher_never_saw():
    labels = digits().train.labels
    pool, held_out = hold_out(labels, DEMO.held_out, 0)
    chosen = held_out[subset(labels[held_out], DEMO.training_images, 0)]
    assert DEMO.unseen
    assert len(labels[chosen].unique()) == 10
    assert set(chosen.tolist()).isdisjoint(pool.tolist())
    assert len(pool) > 10 * DEMO.training_images
