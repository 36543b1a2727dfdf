"""From a denoiser and data to a trained one: a loop whose every number is a function of (seed, step)."""
