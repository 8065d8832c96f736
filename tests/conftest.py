"""What holds for all tests."""

import signal

from hypothesis import settings

# A shared or busy machine makes no example wrong.
settings.register_profile("concertino", deadline=None)
settings.load_profile("concertino")

# A job in the background ignores Ctrl-C, and one of nohup a lost terminal; so would the programs that tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
