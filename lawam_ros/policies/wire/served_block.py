"""What our servers add to the metadata of the official ones."""

BLOCK = "lawam_ros"
"""Key under which our clients find the checkpoint's name, contract and statistics; official clients do not look there."""
