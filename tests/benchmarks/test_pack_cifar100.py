"""CIFAR-100 packed and unpacked is what it was, whatever the number of parts; anything else is refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from benchmarks.gpu.pack_cifar100 import main, pack, unpack

from preceptor.data import load_dataset


@pytest.fixture
def arrays(tmp_path) -> dict[str, np.ndarray]:
    """A small data set under tmp_path/root."""
    generator = np.random.default_rng(1)
    made = {"class_names": np.array(["ant", "bee", "cow"])}
    for split, images in (("train", 23), ("test", 7)):
        made[f"{split}_images"] = generator.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(images) % 3).astype(np.uint8)
    (tmp_path / "root").mkdir()
    np.savez(tmp_path / "root" / "cifar100.npz", **made)
    return made


def packed(tmp_path: Path, most: int = 2**30) -> list[Path]:
    return pack(tmp_path / "root", tmp_path / "parts", most, strip=5)


@pytest.mark.parametrize(("most", "parts"), [(2**30, 1), (150_000, 2), (110_000, 3)])
def test_what_was_packed_comes_out_again(tmp_path, arrays, most, parts):
    paths = packed(tmp_path, most)
    assert [path.name for path in paths] == [f"cifar100-{number}of{parts}.zip" for number in range(1, parts + 1)]
    assert max(path.stat().st_size for path in paths) <= most
    unpack(paths[::-1], tmp_path / "there" / "cifar100.npz")
    with np.load(tmp_path / "there" / "cifar100.npz", allow_pickle=False) as found:
        assert set(found.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    assert load_dataset("cifar100", root=tmp_path / "there").class_names == ("ant", "bee", "cow")


def test_a_part_that_is_missing_is_named(tmp_path, arrays):
    first, *_ = packed(tmp_path, 150_000)
    with pytest.raises(SystemExit, match="part 2 of 2 is missing"):
        unpack([first], tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_parts_of_different_packings_are_not_mixed(tmp_path, arrays):
    first, _ = packed(tmp_path, 150_000)
    arrays["train_images"][0] = 0
    np.savez(tmp_path / "root" / "cifar100.npz", **arrays)
    others = pack(tmp_path / "root", tmp_path / "others", 150_000, strip=5)
    with pytest.raises(SystemExit, match="not of one packing"):
        unpack([first, others[1]], tmp_path / "out.npz")


def test_a_damaged_part_is_noticed(tmp_path, arrays):
    [path] = packed(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(SystemExit, match=r"cifar100-1of1\.zip: not a whole part"):
        unpack([path], tmp_path / "out.npz")


def test_other_pixels_are_noticed(tmp_path, arrays):
    [path] = packed(tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["train-0000.webp"], members["train-0001.webp"] = members["train-0001.webp"], members["train-0000.webp"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(SystemExit, match="the train images came out otherwise than they were packed"):
        unpack([path], tmp_path / "out.npz")


def test_parts_too_small_for_a_strip(tmp_path, arrays):
    with pytest.raises(SystemExit, match="smaller than one strip of images: allow larger ones"):
        packed(tmp_path, 80_000)


def test_on_the_command_line(tmp_path, arrays, capsys):
    main(["pack", "--root", str(tmp_path / "root"), "--out", str(tmp_path / "parts")])
    assert "cifar100-1of1.zip" in capsys.readouterr().out
    out = tmp_path / "cifar100.npz"
    main(["unpack", str(tmp_path / "parts" / "cifar100-1of1.zip"), "--out", str(out)])
    assert out.is_file()
