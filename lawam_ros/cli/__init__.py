"""The ``lawam`` command."""
