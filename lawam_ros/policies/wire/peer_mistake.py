"""What the other side sent cannot be used."""


class PeerMistake(ValueError):
    """``str(error)`` is one sentence for the peer: what was expected, what came. Its connection may end, the process goes on."""
