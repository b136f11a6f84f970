"""What can go wrong on a laptop, told to the person at the terminal."""


class LocalError(Exception):
    """The stack cannot go on. The text is one line that says what is wrong and what to do next."""
