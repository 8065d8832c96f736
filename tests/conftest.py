"""What holds for all tests."""

from hypothesis import settings

# A shared or busy machine makes no example wrong.
settings.register_profile("concertino", deadline=None)
settings.load_profile("concertino")
