"""How an LLM is asked: many requests at once, within limits and budgets, online or in batches."""
