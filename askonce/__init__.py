"""Ask a large language model once, train a small policy as often as you like.

This folder is the one importable name. In a checkout `askonce.cache`, `askonce.pipeline`, `askonce.student` and
`askonce.commands` are links to the folders beside it; in a wheel they are inside it.
"""
