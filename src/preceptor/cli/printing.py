"""What goes to a terminal: names in it may be a stranger's."""


def printable(text: str) -> str:
    """Without what would steer a terminal; other letters are shown as escapes. Line breaks are among these."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def one_line(text: str) -> str:
    """The same, line breaks and the like become spaces."""
    return printable(" ".join(text.split()))
