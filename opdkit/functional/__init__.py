"""Pure functions of tensors: no config, no models, no logging."""
