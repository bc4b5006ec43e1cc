"""Kernels that Numba turns into machine code: arrays in, arrays out, without the interpreter's lock."""
