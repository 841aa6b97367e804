"""Deploying: the trained policy alone, as a file that needs nothing of this project."""
