import errno
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from preceptor import files
from preceptor.errors import InputError, MachineError
from preceptor.models import ModelCard, build_model, load_student, save_student

CARD = ModelCard(
    architecture="convnet2",
    channels=1,
    classes=3,
    class_names=("ein", "zwei", "größer"),
    image_size=(8, 9),
    mean=(0.3,),
    std=(0.2,),
    data="digits",
    preceptor="0.1.0",
    notes={"teacher": "none"},
)


def trained_network(name="convnet2", channels=1, classes=3):
    """A network whose weights and batch statistics are no longer the initial ones."""
    network = build_model(name, channels=channels, classes=classes)
    network(torch.randn(4, channels, 8, 8)).square().mean().backward()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    return network


@pytest.fixture
def folder(tmp_path):
    save_student(tmp_path, trained_network(), CARD)
    return tmp_path


def refused(folder, *parts):
    with pytest.raises(InputError) as caught:
        load_student(folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def change_card(folder, **changes):
    content = json.loads((folder / "student.json").read_text()) | changes
    (folder / "student.json").write_text(json.dumps(content))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_student_comes_back_as_it_was(tmp_path, memory_format):
    network = trained_network().to(memory_format=memory_format)
    save_student(tmp_path / "deep" / "run", network, CARD)
    loaded, card = load_student(tmp_path / "deep" / "run")
    assert card == CARD
    assert not loaded.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert network.training


def test_the_folder_holds_two_plain_files(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["student.json", "student.safetensors"]
    assert json.loads((folder / "student.json").read_text(encoding="utf-8"))["class_names"] == list(CARD.class_names)
    assert load_file(folder / "student.safetensors").keys() == trained_network().state_dict().keys()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_the_prefix_of_a_wrapper_is_taken_off(folder, prefix):
    expected = load_file(folder / "student.safetensors")
    save_file({f"{prefix}{name}": tensor for name, tensor in expected.items()}, folder / "student.safetensors")
    with pytest.warns(UserWarning, match=f"took '{prefix}' off the name of every weight"):
        network, _ = load_student(folder)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("wrapped", [torch.nn.DataParallel, torch.compile])
def test_a_wrapped_network_is_saved_without_the_prefix(tmp_path, wrapped):
    network = trained_network()
    save_student(tmp_path, wrapped(network), CARD)
    loaded, _ = load_student(tmp_path)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_a_prefix_of_some_weights_is_unexpected(folder):
    tensors = load_file(folder / "student.safetensors")
    tensors["module.head.bias"] = tensors.pop("head.bias")
    save_file(tensors, folder / "student.safetensors")
    refused(folder, "left as built: head.bias", "unused: module.head.bias")


def test_notes_may_be_left_out(folder):
    content = json.loads((folder / "student.json").read_text())
    del content["notes"]
    (folder / "student.json").write_text(json.dumps(content))
    assert load_student(folder)[1].notes == {}


def test_loading_and_saving_leave_the_generator_alone(folder):
    before = torch.get_rng_state()
    student, card = load_student(folder)
    save_student(folder, student, card)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_card_gives_its_normalization():
    images = torch.full((1, 1, *CARD.image_size), 255, dtype=torch.uint8)
    expected = torch.full((1, 1, *CARD.image_size), (1 - 0.3) / 0.2)
    torch.testing.assert_close(CARD.normalization()(images), expected)
    torch.testing.assert_close(CARD.normalization()(images[:, :, :2, :2]), expected)  # resized to its size


def test_weights_are_in_place_before_the_card(tmp_path, monkeypatch):
    order, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (order.append(target.name), replace(self, target))[1])
    save_student(tmp_path, trained_network(), CARD)
    assert order == ["student.safetensors", "student.json"]


@pytest.mark.parametrize("file_that_fails", [1, 2])
def test_a_full_disk_keeps_the_student_that_was_there(folder, monkeypatch, file_that_fails):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write, calls = files._write_synced, []

    def write_until_full(path, data):
        calls.append(path)
        if len(calls) == file_that_fails:
            path.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(files, "_write_synced", write_until_full)
    with pytest.raises(MachineError, match=f"{folder}.*: cannot be written: No space left"):
        save_student(folder, trained_network(), CARD)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be written"):
        save_student(tmp_path / "file" / "run", trained_network(), CARD)


def test_a_network_that_does_not_fit_its_card_is_not_saved(tmp_path):
    with pytest.raises(
        InputError, match=r"does not fit architecture 'convnet2' of its card.*\(16,\) instead of \(2,\)"
    ):
        save_student(tmp_path, trained_network("convnet16"), CARD)
    assert list(tmp_path.iterdir()) == []


def test_no_folder(tmp_path):
    refused(tmp_path / "nowhere", "nowhere: no such folder")


@pytest.mark.parametrize("name", ["student.json", "student.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, f"{folder / name}: no such file")


@pytest.mark.parametrize("content", [b"", b"{", b'{"architecture": "conv', b"\xff\xfe", b"[" * 100_000])
def test_a_card_that_is_not_json(folder, content):
    (folder / "student.json").write_bytes(content)
    refused(folder, f"{folder / 'student.json'}: not valid JSON")


def test_a_card_that_is_not_an_object(folder):
    (folder / "student.json").write_text("[1]")
    refused(folder, "student.json: is a JSON list; expected an object")


def test_an_unknown_key_is_offered_the_nearest(folder):
    change_card(folder, class_name=["a"])
    refused(folder, "student.json", "'class_name'", "did you mean 'class_names'")


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("classes", "many", "classes"),
        ("classes", 0, "classes"),
        ("channels", None, "channels"),
        ("class_names", "abc", "class_names"),
        ("class_names", ["a", "b"], "2 names for 3 classes"),
        ("image_size", [8], "image_size"),
        ("image_size", [8, 0], "image_size"),
        ("mean", [0.1, 0.2], "2 values for 1 channels"),
        ("mean", [float("nan")], "mean"),
        ("std", [0.0], "std"),
        ("std", [float("inf")], "std"),
        ("notes", {"epochs": 3}, "notes"),
    ],
)
def test_a_wrong_value_is_named(folder, key, value, part):
    change_card(folder, **{key: value})
    refused(folder, str(folder / "student.json"), part)


def test_a_missing_key_is_named(folder):
    content = json.loads((folder / "student.json").read_text())
    del content["std"]
    (folder / "student.json").write_text(json.dumps(content))
    refused(folder, "student.json", "std is missing")


@pytest.mark.parametrize(("name", "part"), [("convnt2", "did you mean 'convnet"), ("resnet9", "6n+2")])
def test_an_architecture_that_does_not_exist(folder, name, part):
    change_card(folder, architecture=name)
    refused(folder, "student.json", part)


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.6, 0.999])
def test_truncated_weights(folder, share):
    path = folder / "student.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(folder, f"{path}: not a whole safetensors file")


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_is_never_opened(folder, protocol):
    bomb = pickle.dumps(Bomb(folder / "exploded"), protocol=protocol)
    (folder / "student.safetensors").write_bytes(bomb)
    refused(folder, "student.safetensors", "not a whole safetensors file" if protocol == 0 else "a pickle")
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save_is_never_opened(folder, zipped):
    torch.save(trained_network().state_dict(), folder / "student.safetensors", _use_new_zipfile_serialization=zipped)
    refused(folder, "student.safetensors: a pickle")


def test_a_header_length_that_looks_like_a_pickle_is_read(folder):
    """A header of 640 bytes begins with 80 02, as a pickle of protocol 2 does."""
    tensors = {"head.bias": torch.zeros(3)}
    content = next(
        content
        for padding in range(700)
        if (content := save(tensors, {"padding": "x" * padding})).startswith(b"\x80\x02")
    )
    (folder / "student.safetensors").write_bytes(content)
    refused(folder, "student.safetensors: does not fit architecture 'convnet2'", "left as built: head.weight")


def test_tensors_that_do_not_fit_are_listed_briefly(folder):
    tensors = load_file(folder / "student.safetensors")
    tensors["head.bias"] = torch.zeros(4)
    tensors["tail"] = torch.zeros(1)
    lost = [name for name in sorted(tensors) if name.startswith("layers.") and "num_batches" not in name][:6]
    save_file({name: tensor for name, tensor in tensors.items() if name not in lost}, folder / "student.safetensors")
    message = refused(folder, "student.safetensors", "and 2 more", "unused: tail", "head.bias (4,) instead of (3,)")
    assert [name in message for name in lost] == [True, True, True, True, False, False]


@pytest.mark.parametrize("count", [None, torch.zeros(3)])
def test_what_batch_norm_counted_may_be_missing(folder, count):
    whole, _ = load_student(folder)
    tensors = load_file(folder / "student.safetensors")
    counter = next(name for name in tensors if name.endswith("num_batches_tracked"))
    del tensors[counter]
    save_file(tensors | ({} if count is None else {counter: count}), folder / "student.safetensors")
    loaded, _ = load_student(folder)
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(loaded(images), whole(images))
