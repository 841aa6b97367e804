"""Judging: how well a policy does, how two teachers compare, and which mistakes a student has unlearned."""
