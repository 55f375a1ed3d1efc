"""Cuts the power of a mounted ext4, as far as software can: nothing that is not on the disk gets there any more.

Standard input takes one command a line:  cut FOLDER [PID]  (shuts the file system of FOLDER down without flushing its
journal, then kills PID).  Prints "cut" when both are done, or what was wrong.
"""

import fcntl
import os
import signal
import struct
import sys

EXT4_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2

for line in sys.stdin:
    _, folder, *pids = line.split()
    try:
        directory = os.open(folder, os.O_RDONLY)
        fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
        os.close(directory)
        print("cut", flush=True)
    except OSError as error:
        print(error, flush=True)
