"""Learning: PPO and distillation, the networks they train, and where a run is kept."""
