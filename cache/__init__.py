"""Content-addressed store of every answer an LLM gave. Knows nothing of tasks or of learning."""
