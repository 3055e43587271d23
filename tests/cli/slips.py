"""Ways to get it wrong: what a user types or hands in, and the words that the one line in answer must hold."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.cli.conftest import SMALL


@dataclass(frozen=True)
class Bench:
    """Where a slip is prepared: a folder of its own, and a sound teacher to copy and spoil."""

    folder: Path
    sound_teacher: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def file(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def npz(self, **arrays: np.ndarray) -> str:
        """Twelve images of three classes, but for what is given."""
        usual = {
            "train_images": np.zeros((12, 8, 8), np.uint8),
            "train_labels": np.arange(12) % 3,
            "test_images": np.zeros((3, 8, 8), np.uint8),
            "test_labels": np.arange(3),
        }
        np.savez(self.folder / "set.npz", **{**usual, **arrays})
        return f"arrays:{self.folder / 'set.npz'}"

    def images(self, sizes: dict[str, int], empty: tuple[str, ...] = ()) -> Path:
        """A folder of two images a class, of these sizes, and of classes without images."""
        for name, size in sizes.items():
            (self.folder / "photos" / name).mkdir(parents=True)
            for number in range(2):
                Image.fromarray(np.full((size, size), 9, np.uint8)).save(
                    self.folder / "photos" / name / f"{number}.png"
                )
        for name in empty:
            (self.folder / "photos" / name).mkdir(parents=True)
        return self.folder / "photos"

    def teacher(self) -> Path:
        """A copy of the teacher, to be spoilt."""
        target = self.folder / "teacher"
        return target if target.exists() else Path(shutil.copytree(self.sound_teacher, target))

    def weights(self, content: bytes) -> Path:
        (self.teacher() / "student.safetensors").write_bytes(content)
        return self.teacher()

    def rows(self, images: int = 1348, classes: int = 10) -> Path:
        """A file of what a teacher of digits might have said."""
        np.save(self.folder / "outputs.npy", np.ones((images, classes), np.float32))
        return self.folder / "outputs.npy"

    def truncated(self) -> Path:
        return self.weights((self.sound_teacher / "student.safetensors").read_bytes()[:-100])

    def card(self, text: str) -> Path:
        (self.teacher() / "student.json").write_text(text)
        return self.teacher()

    def changed_card(self, **changes: object) -> Path:
        return self.card(json.dumps(json.loads((self.sound_teacher / "student.json").read_text()) | changes))

    def not_a_number(self) -> Path:
        tensors = load_file(self.sound_teacher / "student.safetensors")
        tensors["head.bias"][2] = torch.nan
        save_file(tensors, self.teacher() / "student.safetensors")
        return self.teacher()

    def distill(self, *arguments: object, teacher: Path | None = None) -> list[object]:
        usual = unless_set(SMALL, arguments)
        return ["distill", "--teacher", teacher or self.sound_teacher, *usual, "--out", self.out, *arguments]

    def train(self, *arguments: object) -> list[object]:
        usual = unless_set(["--epochs", "1", "--device", "cpu"], arguments)
        return ["train", *usual, "--out", self.out, *arguments]


def unless_set(usual: list[str], arguments: Sequence[object]) -> list[str]:
    """The usual options and values, but for those that the arguments set: a setting is given once."""
    text = " ".join(str(argument) for argument in arguments)
    pairs = zip(usual[::2], usual[1::2], strict=True)
    return [
        part
        for option, value in pairs
        if f"{option} " not in f"{text} " and f"training.{option[2:]}=" not in text
        for part in (option, value)
    ]


@dataclass(frozen=True)
class Slip:
    """What is done wrong, and what the answer names: the culprit, and the way out."""

    name: str
    command: Callable[[Bench], list[object]]
    told: tuple[str, ...]
    code: int = field(default=2)


NAMES = [
    Slip("verb", lambda b: ["distil"], ("unknown verb 'distil'", "did you mean 'distill'")),
    Slip("flag", lambda b: b.train("--modle=x"), ("--modle", "did you mean --model?", "preceptor train --help")),
    Slip(
        "no abbreviated flag", lambda b: ["reproduce", "demo", "--data", "x"], ("unknown option --data", "--data-root")
    ),
    Slip("a flag twice", lambda b: b.train("--seed", "1", "--seed=2"), ("--seed is set twice",)),
    Slip("a switch twice", lambda b: b.train("--quiet", "--quiet"), ("--quiet is set twice",)),
    Slip("a flag and its key", lambda b: b.train("seed=2", "--seed", "1"), ("seed is set twice",)),
    Slip("a key twice", lambda b: b.train("training.momentum=0", "training.momentum=1"), ("momentum is set twice",)),
    Slip("word", lambda b: ["evaluate", b.sound_teacher, "twice"], ("twice", "preceptor evaluate --help")),
    Slip("no out", lambda b: ["train"], ("--out", "preceptor train --help")),
    Slip("recipe", lambda b: b.distill("--recipe", "ka-pz"), ("unknown recipe 'ka-pz'", "did you mean 'ka-ps'")),
    Slip("recipe file", lambda b: b.distill("--recipe", b.folder / "my.yaml"), ("my.yaml", "No such file")),
    Slip(
        "recipe key",
        lambda b: b.distill("recipe.tempr.name=fixed"),
        ("unknown key in recipe safe 'tempr'", "did you mean 'temperature'"),
    ),
    Slip(
        "component",
        lambda b: b.distill("recipe.correction=label_revison"),
        ("unknown correction component 'label_revison'", "did you mean 'label_revision'"),
    ),
    Slip(
        "option of a component",
        lambda b: b.distill("--recipe", "label-revision", "recipe.correction.etta=0.5"),
        ("correction component 'label_revision' 'etta'", "did you mean 'eta'"),
    ),
    Slip("setting", lambda b: b.train("trian_images=9"), ("'trian_images'", "did you mean train_images?")),
    Slip("group", lambda b: b.train("trainin.epochs=3"), ("'trainin'", "did you mean training?")),
    Slip("a key without its group", lambda b: b.train("momentum=0"), ("did you mean training.momentum?",)),
    Slip("a flag as a key", lambda b: b.train("lr=2"), ("did you mean training.learning_rate (--lr)?",)),
    Slip(
        "an option of a component without its place",
        lambda b: b.distill("temperature=2"),
        ("unknown key", "recipe.temperature.temperature?"),
    ),
    Slip("training key", lambda b: b.train("training.epoch=3"), ("'epoch'", "did you mean 'epochs'")),
    Slip("training", lambda b: b.train("--training", "standart"), ("'standart'", "did you mean 'standard'")),
    Slip("model", lambda b: b.train("--model", "convnett8"), ("model 'convnett8'", "did you mean 'convnet8'")),
    Slip("depth", lambda b: b.train("--model", "resnet21"), ("21", "6n+2")),
    Slip(
        "an ImageNet model",
        lambda b: b.train("--model", "resnet18"),
        ("18", "did you mean imagenet-resnet18 or torchvision:resnet18?"),
    ),
    Slip("a folder as data", lambda b: b.train("--data", b.folder), ("unknown data set", "did you mean folder:/")),
    Slip("data set", lambda b: b.train("--data", "digts"), ("unknown data set 'digts'", "did you mean 'digits'")),
    Slip(
        "protocol",
        lambda b: ["reproduce", "cifar10", "--out", b.out],
        ("unknown protocol 'cifar10'", "did you mean 'cifar100'"),
    ),
    Slip(
        "precision",
        lambda b: b.train("--precision", "fp16"),
        ("precision is 'fp16'; expected 'auto', 'fp32' or 'bf16'",),
    ),
    Slip("compile", lambda b: b.train("--compile", "yes"), ("compile", "'auto', 'never'", "'yes'")),
    Slip("says", lambda b: b.distill("--teacher-output", "logit"), ("teacher_output", "'logits'", "'logit'")),
    Slip("mean", lambda b: b.distill("--ensemble-mean", "men"), ("ensemble_mean", "'probabilities'", "'men'")),
    Slip("device", lambda b: b.train("--device", "gpu"), ("device", "'gpu'")),
    Slip("split", lambda b: ["evaluate", b.sound_teacher, "--split", "tset"], ("'tset'", "test", "train")),
]

VALUES = [
    Slip("letters for a number", lambda b: b.train("--epochs", "ten"), ("--epochs", "'ten'", "--help")),
    Slip(
        "letters by key",
        lambda b: b.train("training.epochs=ten"),
        ("training.epochs is 'ten'; expected a whole number",),
    ),
    Slip(
        "half an epoch", lambda b: b.train("training.epochs=1.5"), ("training.epochs is 1.5; expected a whole number",)
    ),
    Slip(
        "no epoch",
        lambda b: b.train("--epochs", "0"),
        ("training.epochs is 0; expected a number greater than or equal to 1",),
    ),
    Slip("negative rate", lambda b: b.train("--lr", "-0.1"), ("learning_rate", "greater than 0", "-0.1")),
    Slip("infinite rate", lambda b: b.train("--lr", "inf"), ("learning_rate", "finite")),
    Slip("NaN share", lambda b: b.train("--validation", "nan"), ("validation", "nan")),
    Slip("all held out", lambda b: b.train("--validation", "1"), ("validation", "less than 1")),
    Slip("negative seed", lambda b: b.train("--seed", "-1"), ("seed", "greater than or equal to 0")),
    Slip("no equals sign", lambda b: b.train("epochs"), ("'epochs'", "key=value")),
    Slip("bad YAML value", lambda b: b.train("seed=[1"), ("'seed=[1'", "YAML")),
    Slip("eta too large", lambda b: b.distill("--recipe", "label-revision", "recipe.correction.eta=2"), ("eta", "2")),
    Slip(
        "eta in words", lambda b: b.distill("--recipe", "label-revision", "recipe.correction.eta=much"), ("eta", "much")
    ),
    Slip("cold", lambda b: b.distill("recipe.temperature.temperature=0"), ("temperature", "above 0")),
    Slip("no seeds", lambda b: ["demo", "--seeds", "0", "--out", b.out], ("--seeds is 0", "1 or more")),
    Slip(
        "too many images",
        lambda b: b.train("--train-images", "5000"),
        ("train_images = 5000", "1213", "ask for fewer"),
    ),
    Slip("size of digits", lambda b: b.train("--image-size", "9"), ("image size 9", "folder:DIR")),
]

TEACHERS = [
    Slip(
        "none",
        lambda b: ["distill", *SMALL, "--out", b.out],
        ("needs a teacher", "--teacher RUN_FOLDER", "--cache DIR"),
    ),
    Slip("no folder", lambda b: b.distill(teacher=b.folder / "gone"), ("gone: no such folder", "give the folder")),
    Slip("empty folder", lambda b: b.distill(teacher=b.folder), ("student.json: no such file", "no complete student")),
    Slip("corrupt", lambda b: b.distill(teacher=b.weights(b"\x10" * 500)), ("student.safetensors", "train it again")),
    Slip("empty", lambda b: b.distill(teacher=b.weights(b"")), ("student.safetensors", "train it again")),
    Slip("truncated", lambda b: b.distill(teacher=b.truncated()), ("student.safetensors", "train it again")),
    Slip(
        "pickle",
        lambda b: b.distill(teacher=b.weights(b"\x80\x04\x95\x00cposix\nsystem\n.")),
        ("student.safetensors", "pickle", "not opened"),
    ),
    Slip("card cut short", lambda b: b.distill(teacher=b.card('{"architecture": "conv')), ("student.json", "JSON")),
    Slip(
        "card of a list", lambda b: b.distill(teacher=b.card("[]")), ("student.json", "JSON list", "expected an object")
    ),
    Slip("card key", lambda b: b.distill(teacher=b.changed_card(clases=3)), ("student.json", "did you mean 'classes'")),
    Slip(
        "card of another network",
        lambda b: b.distill(teacher=b.changed_card(architecture="convnet8")),
        ("student.safetensors", "does not fit architecture 'convnet8'"),
    ),
    Slip(
        "class count",
        lambda b: b.distill("--data", b.npz(), "--train-images", "9"),
        ("teacher ", "has 10 classes", "has 3", "without names on both sides"),
    ),
    Slip(
        "classes without names",
        lambda b: b.distill(
            "--data", b.npz(), "--train-images", "9", teacher=b.changed_card(class_names=list("abcdefghij"))
        ),
        ("has 10 classes", "has 3", "without names", "in the same order"),
    ),
    Slip(
        "not finite",
        lambda b: b.distill(teacher=b.not_a_number()),
        ("the teacher's logits are not finite for 60 of 60", "the first at index 66", "check its weights"),
    ),
    Slip("evaluate nothing", lambda b: ["evaluate", b.folder / "gone"], ("gone: no such folder", "give the folder")),
    Slip(
        "evaluate on other classes",
        lambda b: ["evaluate", b.sound_teacher, "--data", b.npz(class_names=np.array(["cat", "dog", "owl"]))],
        ("student ", "has no class 'cat'", "it has '0', '1'", "by name"),
    ),
    Slip(
        "evaluate what diverged",
        lambda b: ["evaluate", b.not_a_number()],
        ("sample 0", "not all finite", "lower learning rate"),
    ),
]


def damaged_header(bench: Bench) -> str:
    """One wrong byte in the header of a large array, on which NumPy's reader breaks off with an error of its own."""
    spec = bench.npz(train_images=np.zeros((4000, 8, 8), np.uint8), train_labels=np.arange(4000) % 3)
    path = bench.folder / "set.npz"
    path.write_bytes(path.read_bytes().replace(b"(4000, 8, 8)", b"(4000, 8, 8("))
    return spec


def cut_short(bench: Bench) -> str:
    spec = bench.npz()
    path = bench.folder / "set.npz"
    path.write_bytes(path.read_bytes()[:-40])
    return spec


DATA = [
    Slip("no npz", lambda b: b.train("--data", f"arrays:{b.folder}/no.npz"), ("no.npz: no such file", "give an .npz")),
    Slip("npz cut short", lambda b: b.train("--data", cut_short(b)), ("set.npz", "write it with numpy.savez")),
    Slip("npz of text", lambda b: b.train("--data", f"arrays:{b.file('a.npz', b'text')}"), ("a.npz", "numpy.savez")),
    Slip("npz header", lambda b: b.train("--data", damaged_header(b)), ("set.npz", "'train_images'", "write it again")),
    Slip(
        "label out of range",
        lambda b: b.train("--data", b.npz(train_labels=np.where(np.arange(12) == 5, -7, np.arange(12) % 3))),
        ("train label -7 at index 5", "expected 0 to 2"),
    ),
    Slip(
        "test label out of range",
        lambda b: b.train("--data", b.npz(test_labels=np.array([0, 1, 3]))),
        ("test label 3 at index 2", "expected 0 to 2"),
    ),
    Slip(
        "gap in the labels",
        lambda b: b.train("--data", b.npz(train_labels=2 * (np.arange(12) % 2))),
        ("no training image of class '1' (label 1)", "add some or take the class out"),
    ),
    Slip(
        "one class",
        lambda b: b.train("--data", b.npz(train_labels=np.zeros(12, int), test_labels=np.zeros(3, int))),
        ("1 class", "at least 2"),
    ),
    Slip(
        "empty class folder",
        lambda b: b.train("--data", f"folder:{b.images({'cat': 8, 'dog': 8}, empty=('emu',))}"),
        ("emu: empty class folder", "add images or remove it"),
    ),
    Slip("no image folder", lambda b: b.train("--data", f"folder:{b.folder}/no"), ("no: no such folder", "give one")),
    Slip(
        "images of two sizes",
        lambda b: b.train("--data", f"folder:{b.images({'cat': 8, 'dog': 9})}"),
        ("9 x 9", "8 x 8", "--image-size"),
    ),
    Slip(
        "not there",
        lambda b: b.train("--data", "mnist", "--data-root", b.folder),
        ("'mnist' is not under", "PRECEPTOR_DATA", "--download"),
    ),
    Slip(
        "no file of labels",
        lambda b: b.train("--train-labels", b.folder / "no.npy"),
        ("no.npy", "No such file"),
    ),
    Slip(
        "labels of another set",
        lambda b: b.train("--data", b.npz(), "--train-labels", b.sound_teacher / "run.yaml"),
        ("run.yaml", "not a .npy file"),
    ),
]

FILES = [
    Slip("config missing", lambda b: b.train("--config", b.folder / "no.yaml"), ("no.yaml", "No such file")),
    Slip("config is a folder", lambda b: b.train("--config", b.folder), (" directory",)),
    Slip("bad YAML", lambda b: b.train("--config", b.file("a.yaml", b"seed: [1\n")), ("a.yaml", "not valid YAML")),
    Slip(
        "key twice",
        lambda b: b.train("--config", b.file("a.yaml", b"seed: 1\nseed: 2\n")),
        ("a.yaml", "duplicate key 'seed'"),
    ),
    Slip("not UTF-8", lambda b: b.train("--config", b.file("a.yaml", b"data: \xff\xfe\n")), ("a.yaml", "UTF-8")),
    Slip("a list", lambda b: b.train("--config", b.file("a.yaml", b"- seed\n")), ("a.yaml", "mapping")),
    Slip("config key", lambda b: b.train("--config", b.file("a.yaml", b"sead: 1\n")), ("'sead'", "did you mean seed?")),
    Slip("no object", lambda b: b.train("--config", b.file("a.yaml", b"seed: !!python/name:os.system\n")), ("a.yaml",)),
]
