"""Our policy behind the wire formats of the official servers: ``lawam serve``."""
