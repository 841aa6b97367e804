"""One HTML file about a cache, its audit and the runs that learnt from it: facts, pictures, page."""
