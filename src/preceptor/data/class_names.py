"""Class names: those of the named data sets in the order of their labels, and what any must be."""

from collections.abc import Iterable
from unicodedata import category

from preceptor.errors import InputError

DIGITS = tuple("0123456789")

# Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747
FASHION_MNIST = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

# Krizhevsky 2009, "Learning multiple layers of features from tiny images"
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea
seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman
worm
"""
CIFAR100 = tuple(_CIFAR100.split())


def check_printable(names: Iterable[str], where: str) -> None:
    """Refuse names that cannot be written to a file or would steer a terminal.

    Args:
        names: of classes.
        where: they come from, for the message.

    Raises:
        InputError: a name with a control character, or with bytes that are not UTF-8.
    """
    for name in names:
        if any(category(letter) in ("Cc", "Cs") for letter in name):
            raise InputError(f"{where}: the class name {name!a} holds a control character or is not UTF-8: rename it")
