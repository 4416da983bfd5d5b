"""What holds for every test."""

from hypothesis import settings

# A busy machine makes any example slow: how long one takes is no property of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
