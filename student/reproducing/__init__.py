"""The tables and figures of the paper, made again from a cache."""
