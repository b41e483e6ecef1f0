"""A Python as on Windows, as far as it can be had elsewhere: first on PYTHONPATH, it takes away what only POSIX has.

Every process that a test starts inherits it. Processes still start, and get their sockets, as the system does it;
what is under test is that nobody asks for the rest.
"""

import builtins
import io
import os
import signal
import subprocess
import sys

GONE = ("/proc/", "/dev/shm")

for name in ("fcntl", "resource", "termios"):
    sys.modules[name] = None
for module, names in (
    (os, "fork forkpty killpg setsid getpgid nice getloadavg sched_getaffinity mkfifo"),
    (signal, "SIGKILL SIGXFSZ SIGXCPU SIGHUP SIGUSR1 SIGUSR2 SIGALRM alarm setitimer"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

subprocess.Popen.kill = subprocess.Popen.terminate  # as on Windows; here it would ask for SIGKILL


def _without(opener):
    def opened(path, *arguments, **options):
        if isinstance(path, (str, os.PathLike)) and str(path).startswith(GONE):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return opener(path, *arguments, **options)

    return opened


for module, name in ((builtins, "open"), (io, "open"), (os, "stat"), (os, "listdir"), (os, "scandir")):
    setattr(module, name, _without(getattr(module, name)))
