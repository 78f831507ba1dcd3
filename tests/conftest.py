import signal

# A job in the background starts with Ctrl-C ignored, and so would the children that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
