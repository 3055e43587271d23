import pytest
import torch
import yaml

from preceptor.data import hold_out
from preceptor.errors import InputError
from preceptor.run import resolve, run
from preceptor.run.history import DatasetCache, SavedRun, number_among, saved_run, teachers_behind
from tests.training_helpers import SMALL_RUN, digits

BRIEF = {**SMALL_RUN, "student": "convnet4", "training": {"epochs": 1, "batch_size": 32}}


def test_a_run_is_read_as_it_was(teacher):
    found = saved_run(teacher)
    assert found.config.seed == 1
    assert found.record["training_images"] == 60
    assert list(teachers_behind(found)) == []


def test_a_folder_without_a_run_tells_nothing(tmp_path):
    assert saved_run(tmp_path) is None


@pytest.mark.parametrize("content", ["config: {}\n", "config: []\nrecord: {}\n", "- 1\n"])
def test_a_damaged_record_is_refused(tmp_path, content):
    (tmp_path / "run.yaml").write_text(content)
    with pytest.raises(InputError, match=r"run\.yaml"):
        saved_run(tmp_path)


def test_what_it_learned_from_and_what_it_held_out(teacher):
    found, dataset_cache = saved_run(teacher), DatasetCache()
    learned, held_out = dataset_cache.learned_from(found), dataset_cache.held_out(found)
    assert len(learned) == 60
    _, expected = hold_out(digits().train.labels, 0.1, 0)
    assert torch.equal(held_out.images, digits().train.images[expected])
    assert torch.equal(held_out.labels, digits().train.labels[expected])
    assert number_among(held_out.images, learned) == 0
    assert number_among(learned[:7], learned) == 7


def test_other_data_than_then_is_refused(teacher):
    found = saved_run(teacher)
    other = SavedRun(found.folder, found.config, {**found.record, "fingerprints": {"data": "0"}})
    with pytest.raises(InputError, match="was trained on other data than digits holds now"):
        DatasetCache().dataset(other)


def test_a_data_set_is_read_once(teacher, monkeypatch):
    from preceptor.run import history

    reads = []
    read = history.training_data
    monkeypatch.setattr(history, "training_data", lambda config: reads.append(config) or read(config))
    dataset_cache = DatasetCache()
    for _ in range(2):
        dataset_cache.learned_from(saved_run(teacher))
    assert len(reads) == 1


def test_teachers_of_teachers_and_those_that_tell_nothing(teacher, tmp_path):
    student = saved_run(teacher)
    grandchild = tmp_path / "middle"
    grandchild.mkdir()
    record = yaml.safe_load((teacher / "run.yaml").read_text())
    record["config"]["teacher"] = [str(teacher), "outputs.npy"]
    (grandchild / "run.yaml").write_text(yaml.safe_dump(record))
    config = student.config.model_copy(update={"teacher": grandchild})
    behind = list(teachers_behind(SavedRun(tmp_path, config, {})))
    assert [getattr(one, "folder", one) for one in behind] == [grandchild, teacher, behind[2]]
    assert str(behind[2]) == "outputs.npy"
    cached = student.config.model_copy(update={"cache": tmp_path / "cache"})
    assert list(teachers_behind(SavedRun(tmp_path, cached, {}))) == [tmp_path / "cache"]


@pytest.mark.parametrize(
    ("selection", "used"),
    [({"name": "influence"}, "influence"), ({"name": "el2n"}, None), ({"name": "drop_wrong"}, None)],
    ids=["influence", "el2n", "drop_wrong"],
)
def test_a_selection_fitted_against_held_out_images_has_used_them(teacher, tmp_path, selection, used):
    recipe = {"selection": selection, "terms": {"kl": {"loss": "kl"}}}
    run(resolve({**BRIEF, "teacher": teacher, "recipe": recipe}), tmp_path / "student")
    found, dataset_cache = saved_run(tmp_path / "student"), DatasetCache()
    assert found.fitted_on_held_out == used
    held_out = dataset_cache.held_out(found).images
    assert number_among(held_out, dataset_cache.learned_from(found)) == (len(held_out) if used else 0)
