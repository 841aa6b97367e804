"""Showing: runs, learning curves, episodes and reports for people to look at."""
