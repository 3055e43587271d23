"""The key of a cache and its file: a stale cache is an error that names every part in which it differs."""

import json

import pytest

from preceptor.data import CropFlip, Normalization
from preceptor.errors import InputError, MachineError
from preceptor.teachers.cache import CacheKey, Layout, open_cache, open_readonly
from preceptor.teachers.cache.metadata import METADATA_FILE, CacheMetadata, check_key, data_parts, read_metadata
from tests.teachers.cache.samples import FEW, Linear, cache_in, every_entry, key, shown


@pytest.fixture
def folder(tmp_path):
    """Of a full cache."""
    with cache_in(tmp_path / "cache", Linear()) as cache:
        cache.query_and_store(shown(*every_entry()), *every_entry())
    return tmp_path / "cache"


PARTS = {
    "teacher": ("c" * 64, f"other teacher weights ('{'a' * 64}' in the cache, '{'c' * 64}' now)"),
    "data": ("c" * 64, "other training images ('bbbb"),
    "normalization": (
        {"mean": (0.5,), "std": (0.250001,)},
        "other normalization ({'mean': (0.5,), 'std': (0.25,)} in the cache, {'mean': (0.5,), 'std': (0.250001,)} now)",
    ),
    "views": (
        {"rule": "CropFlip", "padding": 1, "flip": True},
        "other augmentation ({'rule': 'CropFlip', 'padding': 1, 'flip': False} in the cache, {'rule': 'CropFlip', 'pa",
    ),
    "class_names": (
        ("class 0", "class 2", "class 1", "class 3", "class 4"),
        "other classes ('class 1' in the cache, 'class 2' now)",
    ),
    "precision": ("bf16", "other precision of the teacher ('fp32' in the cache, 'bf16' now)"),
}


def test_every_part_of_a_key_is_tried():
    assert PARTS.keys() == CacheKey.model_fields.keys()


@pytest.mark.parametrize("part", PARTS)
def test_a_cache_of_something_else_is_an_error(folder, part):
    value, message = PARTS[part]
    for layout in (None, FEW):
        with pytest.raises(InputError) as refusal:
            open_cache(folder, key(**{part: value}), layout, Linear())
        assert message in str(refusal.value)
        assert "remove it and fill it again" in str(refusal.value)
        others = [other for other in PARTS if other != part]
        assert not any(PARTS[other][1].split("(")[0] in str(refusal.value) for other in others)
    assert open_cache(folder, key()).lookup(*every_entry()).known.all()


def test_all_parts_that_differ_are_named_at_once(folder):
    with pytest.raises(InputError, match=r"other teacher weights .*, other training images .*, other precision"):
        open_cache(folder, key(teacher="new", data="new", precision="bf16"))


OF_DATA = ("data", "views", "class_names")
"""What is known of a cache's use when its teacher is not at hand."""


@pytest.mark.parametrize("part", OF_DATA)
def test_without_the_teacher_everything_else_is_checked(folder, part):
    cached, known = read_metadata(folder).key, key().model_dump(include=set(OF_DATA))
    check_key(folder, cached, known)
    value, message = PARTS[part]
    with pytest.raises(InputError) as refusal:
        check_key(folder, cached, known | {part: value})
    assert message in str(refusal.value)


@pytest.mark.parametrize("part", sorted(CacheKey.model_fields.keys() - set(OF_DATA)))
def test_without_the_teacher_its_parts_are_not_checked(tmp_path, part):
    assert {"teacher", "normalization", "precision"} == CacheKey.model_fields.keys() - set(OF_DATA)
    check_key(tmp_path, key(**{part: PARTS[part][0]}), key().model_dump(include=set(OF_DATA)))


def test_another_number_of_classes_is_named(folder):
    with pytest.raises(InputError, match=r"other classes \(5 in the cache, 4 now\)"):
        open_cache(folder, key(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 13}, "expected 13 images in 9 views"),
        ({"views": 162}, "12 images in 162 views"),
        ({"top_k": 2}, "holds 12 images in 9 views, all 5 logits; expected .*, the 2 largest of 5 logits"),
    ],
)
def test_another_layout_is_an_error(folder, change, message):
    with pytest.raises(InputError, match=message):
        open_cache(folder, key(), FEW.model_copy(update=change))


def test_names_and_classes_must_fit_each_other(tmp_path):
    with pytest.raises(InputError, match="5 classes but 4 class names"):
        open_cache(tmp_path / "cache", key(4), FEW)
    assert not (tmp_path / "cache").exists()


def test_a_key_is_made_from_the_things_themselves():
    made = CacheKey.of("t", "d", Normalization((0.1, 0.2), (1.0, 1.0)), CropFlip(4, True), ["cat", "dog"])
    assert made.normalization == {"mean": (0.1, 0.2), "std": (1.0, 1.0)}
    assert made.views == {"rule": "CropFlip", "padding": 4, "flip": True}
    assert made.class_names == ("cat", "dog")
    assert CacheKey.model_validate_json(made.model_dump_json()) == made
    assert data_parts("d", CropFlip(4, True), ["cat", "dog"]) == made.model_dump(include=set(OF_DATA))


def test_awkward_numbers_survive_the_file(tmp_path):
    normalization = {"mean": (1 / 3, 0.1 + 0.2), "std": (1e-17, 5e300)}
    open_cache(tmp_path, key(normalization=normalization), FEW)
    open_cache(tmp_path, key(normalization=normalization))


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_the_seed_of_the_checksums_is_the_same_in_every_release(version):
    layout = Layout(samples=2, views=3, classes=5)
    metadata = CacheMetadata(preceptor=version, layout=layout, key=key())
    assert metadata.checksum_seed.hex()[:16] == "05ac7e8ccf9b77e8"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1]", "expected a JSON object, not list"),
        (b'{"format": 1}', "format 1, this version reads format 2"),
        (b'{"format": 2}', "layout"),
    ],
)
def test_damaged_metadata_is_an_error_with_its_name(folder, content, message):
    (folder / METADATA_FILE).write_bytes(content)
    for look in (open_readonly, lambda path: open_cache(path, key(), FEW)):
        with pytest.raises(InputError, match=message) as refusal:
            look(folder)
        assert str(folder / METADATA_FILE) in str(refusal.value)


def test_an_unknown_key_is_an_error(folder):
    content = json.loads((folder / METADATA_FILE).read_text())
    (folder / METADATA_FILE).write_text(json.dumps(content | {"kye": 3}))
    with pytest.raises(InputError, match="kye"):
        read_metadata(folder)


def test_a_cache_that_an_earlier_version_kept_features_in_is_an_error(folder):
    content = json.loads((folder / METADATA_FILE).read_text())
    content["layout"]["features"] = 64
    (folder / METADATA_FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"layout.features is 64; expected 0"):
        read_metadata(folder)


def test_a_folder_without_a_cache(tmp_path):
    with pytest.raises(InputError, match="no such file: give the folder of a cache"):
        open_cache(tmp_path / "none", key())
    assert not (tmp_path / "none").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds 'thesis.tex' but no cache"):
        open_cache(tmp_path, key(), FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_that_is_called_like_those_of_a_cache_is_not_overwritten(tmp_path):
    (tmp_path / "entries.bin").write_text("years of work")
    with pytest.raises(MachineError, match=r"entries.bin: cannot be made: File exists: choose another folder"):
        open_cache(tmp_path, key(), FEW)
    assert (tmp_path / "entries.bin").read_text() == "years of work"
