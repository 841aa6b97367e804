"""The commands, a module for each group; `cli.py` lists them."""
