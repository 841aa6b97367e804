"""Which of an LLM's decisions are mistakes, of what kind, and what they cost (section 4.1.2)."""
