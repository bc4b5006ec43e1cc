"""The seams between floors, as Protocols that speak only the model's values."""
