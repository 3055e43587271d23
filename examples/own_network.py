"""Your own network and your own Dataset: a student with a teacher, in five lines.

    python examples/own_network.py

Nothing here is an image: a table of measurements, a network of two layers, a teacher of three.
"""

import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.utils.data import Dataset, random_split

import preceptor


class Wines(Dataset[tuple[Tensor, int]]):
    """Thirteen measurements of a wine, and which of three growers made it."""

    classes = ("first grower", "second grower", "third grower")

    def __init__(self) -> None:
        table = load_wine()
        self.inputs = torch.tensor(StandardScaler().fit_transform(table.data), dtype=torch.float32)
        self.targets = table.target.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self.inputs[number], self.targets[number]


def network(hidden: int) -> nn.Module:
    """Any module that returns logits."""
    return nn.Sequential(nn.Linear(13, hidden), nn.ReLU(), nn.Linear(hidden, 3))


def main() -> None:
    """Train a teacher, distill it, and measure the student."""
    torch.manual_seed(0)
    wines = Wines()
    train, test = random_split(wines, [120, 58])
    names = {"class_names": Wines.classes, "views": 1}

    teacher = preceptor.train(network(64), train, epochs=20, **names).student
    trained = preceptor.distill(teacher, network(8), train, "safe", epochs=40, test=test, **names)
    report = preceptor.evaluate(trained, test, class_names=Wines.classes)

    print(f"teacher on the training samples: {trained.teacher.wrong} of {trained.teacher.images} wrong")
    print(f"student: {report.accuracy.value:.1%} right ({report.accuracy.low:.1%} to {report.accuracy.high:.1%})")
    print(f"run folder: {trained.folder}")


if __name__ == "__main__":
    main()
