"""How a worker process ends, as its exit code tells the pool of workers."""

import errno

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""The disk is full, over quota or read-only."""

EXIT_DISK = 74
"""A worker whose disk is full or read-only (EX_IOERR of sysexits.h)."""

EXIT_GONE = 72
"""A worker that finds its output moved or deleted (EX_OSFILE)."""

EXIT_LEFT = 75
"""A worker that left before the work was done, at no fault of any block: its time is
up, it was asked to, or its scheduler is dead (EX_TEMPFAIL)."""

EXIT_UNREACHABLE = 68
"""A worker that can't reach its scheduler (EX_NOHOST)."""

EXIT_TIMEOUT = 87
"""With this Daisy's watchdog ends a worker whose block takes too long."""
