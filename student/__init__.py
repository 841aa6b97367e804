"""The small policy: PPO plus distillation from cached answers. Knows nothing of how an LLM is reached."""
