import json

import pytest

from preceptor.data import CropFlip, Normalization
from preceptor.errors import InputError
from preceptor.teachers.cache import CacheKey, Layout, open_cache, open_readonly
from preceptor.teachers.cache.metadata import CARD_FILE, CacheMetadata, DatasetKey, check_fingerprint, read_card
from tests.teachers.cache.vault import FEW, Weighing, cache_in, every_cell, fingerprint, shown


@pytest.fixture
def folder(tmp_path):
    """Of a full cache."""
    with cache_in(tmp_path / "cache", Weighing()) as cache:
        cache.learn(shown(*every_cell()), *every_cell())
    return tmp_path / "cache"


PARTS = {
    "teacher": ("c" * 64, "other teacher weights (in the cache aaaaaaaaaaaa...aaaaaaaaaaaa, given cccccccccccc..."),
    "data": ("c" * 64, "other training images (in the cache bbbb"),
    "normalization": (
        {"mean": (0.5,), "std": (0.250001,)},
        "other normalization (in the cache mean [0.5], std [0.25], given mean [0.5], std [0.250001])",
    ),
    "views": (
        {"rule": "CropFlip", "padding": 1, "flip": True},
        "other view rule (in the cache rule CropFlip, padding 1, flip False, given rule CropFlip, padding 1, flip True)",
    ),
    "class_names": (
        ("class 0", "class 2", "class 1", "class 3", "class 4"),
        "other classes (class 1 in the cache 'class 1', given 'class 2')",
    ),
    "precision": ("bf16", "other precision of the teacher (in the cache fp32, given bf16)"),
}


def test_every_part_of_a_fingerprint_is_tried():
    assert PARTS.keys() == CacheKey.model_fields.keys()


@pytest.mark.parametrize("part", PARTS)
def test_a_bank_of_something_else_is_an_error(folder, part):
    value, words = PARTS[part]
    for layout in (None, FEW):
        with pytest.raises(InputError) as refusal:
            open_cache(folder, fingerprint(**{part: value}), layout, Weighing())
        assert words in str(refusal.value)
        assert "remove it and fill it again" in str(refusal.value)
        others = [other for other in PARTS if other != part]
        assert not any(PARTS[other][1].split("(")[0] in str(refusal.value) for other in others)
    assert open_cache(folder, fingerprint()).lookup(*every_cell()).known.all()


def test_all_parts_that_differ_are_named_at_once(folder):
    with pytest.raises(InputError, match=r"other teacher weights .*, other training images .*, other precision"):
        open_cache(folder, fingerprint(teacher="new", data="new", precision="bf16"))


def without_teacher(**parts):
    """What is known of a cache's use when its teacher is not at hand."""
    return DatasetKey(**fingerprint(**parts).model_dump(include=set(DatasetKey.model_fields)))


@pytest.mark.parametrize("part", DatasetKey.model_fields)
def test_without_the_teacher_everything_else_is_checked(folder, part):
    of = read_card(folder).fingerprint
    check_fingerprint(folder, of, without_teacher())
    value, words = PARTS[part]
    with pytest.raises(InputError) as refusal:
        check_fingerprint(folder, of, without_teacher(**{part: value}))
    assert words in str(refusal.value)


@pytest.mark.parametrize("part", sorted(CacheKey.model_fields.keys() - DatasetKey.model_fields.keys()))
def test_of_the_teacher_nothing_can_be(folder, part):
    value, _ = PARTS[part]
    assert {"teacher", "normalization", "precision"} == CacheKey.model_fields.keys() - DatasetKey.model_fields.keys()
    check_fingerprint(folder, read_card(folder).fingerprint, without_teacher(**{part: value}))


def test_a_setting_is_made_from_the_things_themselves():
    made = DatasetKey.without_teacher("d", CropFlip(4, True), ["cat", "dog"])
    whole = CacheKey.of("t", "d", Normalization((0.1,), (1.0,)), CropFlip(4, True), ["cat", "dog"])
    assert made.model_dump() == whole.model_dump(include=set(DatasetKey.model_fields))


def test_another_number_of_classes_is_named(folder):
    with pytest.raises(InputError, match=r"other classes \(in the cache 5, given 4\)"):
        open_cache(folder, fingerprint(4))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": 13}, "asked for are 13 samples of 9 views"),
        ({"views": 162}, "12 samples of 162 views"),
        ({"top_k": 2}, "holds 12 samples of 9 views, fp16 of 5 classes, asked for are .*, top 2 of 5 classes"),
        ({"features": 3}, "and 3 features"),
    ],
)
def test_another_layout_is_an_error(folder, change, words):
    with pytest.raises(InputError, match=words):
        open_cache(folder, fingerprint(), FEW.model_copy(update=change))


def test_files_of_another_size_are_no_error(folder):
    cache = open_cache(folder, fingerprint(), FEW.model_copy(update={"shard_bytes": 100}))
    assert cache.layout == FEW
    assert cache.lookup(*every_cell()).known.all()


def test_names_and_classes_must_fit_each_other(tmp_path):
    with pytest.raises(InputError, match="5 classes but 4 class names"):
        open_cache(tmp_path / "cache", fingerprint(4), FEW)
    assert not (tmp_path / "cache").exists()


def test_a_fingerprint_is_made_from_the_things_themselves():
    made = CacheKey.of("t", "d", Normalization((0.1, 0.2), (1.0, 1.0)), CropFlip(4, True), ["cat", "dog"])
    assert made.normalization == {"mean": (0.1, 0.2), "std": (1.0, 1.0)}
    assert made.views == {"rule": "CropFlip", "padding": 4, "flip": True}
    assert made.class_names == ("cat", "dog")
    assert CacheKey.model_validate_json(made.model_dump_json()) == made


def test_awkward_numbers_survive_the_file(tmp_path):
    normalization = {"mean": (1 / 3, 0.1 + 0.2), "std": (1e-17, 5e300)}
    open_cache(tmp_path, fingerprint(normalization=normalization), FEW)
    open_cache(tmp_path, fingerprint(normalization=normalization))


def test_the_seed_of_the_checksums_stays_as_it_is_between_releases():
    layout = Layout(samples=2, views=3, classes=5)
    assert (
        CacheMetadata(preceptor="0.1", layout=layout, fingerprint=fingerprint()).seed.hex()[:16] == "f125eca4c43e3c13"
    )
    assert (
        CacheMetadata(preceptor="0.2", layout=layout, fingerprint=fingerprint()).seed.hex()[:16] == "f125eca4c43e3c13"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1]", "expected a JSON object, found list"),
        (b'{"format": 2}', "format 2, this version reads format 1"),
        (b'{"format": 1}', "layout"),
    ],
)
def test_a_damaged_card_is_an_error_with_its_name(folder, content, words):
    (folder / CARD_FILE).write_bytes(content)
    for look in (open_readonly, lambda path: open_cache(path, fingerprint(), FEW)):
        with pytest.raises(InputError, match=words) as refusal:
            look(folder)
        assert str(folder / CARD_FILE) in str(refusal.value)


def test_an_unknown_key_is_an_error(folder):
    content = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps(content | {"fingerprnt": 3}))
    with pytest.raises(InputError, match="fingerprnt"):
        read_card(folder)


def test_a_folder_without_a_bank(tmp_path):
    with pytest.raises(InputError, match="no such file: give the folder of a cache"):
        open_cache(tmp_path / "none", fingerprint())
    assert not (tmp_path / "none").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds 'thesis.tex' but no cache"):
        open_cache(tmp_path, fingerprint(), FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
