"""JAX: Flax NNX, Flax linen and Equinox."""
