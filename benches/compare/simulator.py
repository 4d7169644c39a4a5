"""`perfharvest simulate` in a process of its own."""

import signal
import subprocess


class Simulator:
    """A simulator that `command` starts, and that ends with its `with` block."""

    def __init__(self, command):
        command = [str(word) for word in command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
