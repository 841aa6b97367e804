"""Ways of asking an LLM, and of making a distribution over decisions of what it answers: one file each."""
