"""The simulated LLM, and the server by which it is asked."""
