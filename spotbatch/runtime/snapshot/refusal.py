"""Why there is no snapshot."""


class NoSnapshot(Exception):
    """There will be none, for this reason; the text is for the user. What runs is as it was."""

    def __init__(self, why: str, *, is_broken: bool = False) -> None:
        """`is_broken`: the command may have been damaged, and must not run on."""
        super().__init__(why)
        self.is_broken = is_broken
