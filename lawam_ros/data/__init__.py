"""Demonstrations on disk: LeRobot v3 folders, their statistics, and what a policy's state and action rows mean."""
