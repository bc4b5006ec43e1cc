"""Array kernels: arrays in, arrays out. They know neither labels nor trees."""
