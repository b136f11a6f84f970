"""A clock that tests own."""


class Clock:
    """Stands at `now`, in seconds, until it is moved."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now
