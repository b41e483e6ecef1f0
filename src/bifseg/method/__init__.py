"""The method of Wang et al., 2018: energy, weights and fine-tuning of one object in its box."""
