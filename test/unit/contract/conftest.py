"""Hypothesis without deadlines: on a loaded machine a slow example says nothing about the code."""

from hypothesis import settings

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
