"""MiniGrid's own registered environments as tasks: one class over MiniGrid's Python code."""
