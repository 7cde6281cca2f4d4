"""What goes wrong with a part, said so that the reader knows what to do."""


class StackError(Exception):
    """A part cannot be started. The message names the part, the reason, and the mend."""
