"""Looking at a run's image, before, while and after it is denoised, in viewers."""
