"""From the states of a task to cached LLM answers. Knows nothing of learning."""
