"""What stands for a file's content in a local store, as an ETag does on S3: it goes with a copy that keeps times.

A file's inode would do for one folder, but a store that is copied has others, and the runs in it could not go on. So
the tag is time, size and a hash of both ends of the file: a `.pt` file ends with checksums of all its tensors.
"""

import hashlib
import os

_END = 4096  # bytes at each end


def local_tag(path: str, known: str, size: int) -> str:
    """The tag of a file.

    Args:
        path: the file.
        known: what obstore has as its ETag, inode-time-size.
        size: bytes.

    Returns:
        time-size-hash, in hexadecimal digits; without the hash where the file cannot be read, as its reader will say.
    """
    time_and_size = known.partition("-")[2]
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for its writer
        try:
            ends = os.pread(file, _END, 0) + os.pread(file, _END, max(_END, size - _END))
        finally:
            os.close(file)
    except OSError:
        return time_and_size
    return f"{time_and_size}-{hashlib.blake2b(ends, digest_size=8).hexdigest()}"
