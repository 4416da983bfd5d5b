"""Studies of the method itself, small enough to be exact or to run in minutes. The core does not depend on them."""
