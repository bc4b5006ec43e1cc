"""PromQL tree to arrays: evaluates whole ranges at once and sees no tenant."""
