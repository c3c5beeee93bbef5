"""One thread, no display, no network, Ctrl-C as at a terminal: set before anything imports torch or pygame."""

import os
import signal

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["SDL_AUDIODRIVER"] = "dummy"

# a shell starts what it runs in the background with Ctrl-C ignored, and the programs that tests interrupt inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
