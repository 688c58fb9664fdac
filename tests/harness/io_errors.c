/* Calls on files that fail at random: preloaded into the processes of a run.
 *
 * libfiu fails calls on all files alike, sockets and Python's own modules among them; this
 * fails only those on a run's own files, with what file systems say to such a call.
 *
 * IO_ERRORS_PREFIX   paths that begin so are disturbed, and what is opened there
 * IO_ERRORS_WHO      "scheduler", "workers" or "both"
 * IO_ERRORS_SEED     of the random numbers; each process has its own
 * IO_ERRORS_ONE_IN   one call in so many fails
 * IO_ERRORS_AFTER    calls of a process that are spared, at its beginning
 * IO_ERRORS_FULL     of the failures of calls that take room, per cent that say so
 * IO_ERRORS_LAST     milliseconds for which a file system that has failed fails on, at
 *                    most; 0: each call for itself
 * IO_ERRORS_LOG      a file that gets a line for each failure
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES 4096

enum { NOT_OURS, OPENED, WRITTEN };
enum { IS_INTERRUPTED = 1, TAKES_ROOM = 2 };

static _Atomic char files[FILES];
static atomic_ulong calls, asked, fails_until;
static const char *prefix;
static unsigned long seed, one_in, spared, full, last;
static int log_file = -1;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static unsigned long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000UL + t.tv_nsec / 1000000;
}

static uint64_t dice(void)
{
    uint64_t x = seed + 0x9e3779b97f4a7c15 * (atomic_fetch_add(&calls, 1) + 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static int is_ours(const char *path)
{
    return one_in && path && !strncmp(path, prefix, strlen(prefix));
}

static int has(int fd)
{
    return one_in && fd >= 0 && fd < FILES ? files[fd] : NOT_OURS;
}

static int is_ours_at(int fd, const char *path)
{
    return path && *path == '/' ? is_ours(path) : has(fd);
}

static void mark(int fd, int what)
{
    if (fd >= 0 && fd < FILES) files[fd] = what;
}

static void note(const char *call, const char *error, int fd, const char *path)
{
    char link[64], name[PATH_MAX] = "";
    if (log_file < 0) return;
    if (fd >= 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, name, sizeof name - 1) < 0) *name = 0;
    }
    dprintf(log_file, "%d %s %s %s %s\n", getpid(), call, error, name, path ? path : "");
}

/* The error that a call fails with, 0 for none. */
static int error_of(const char *call, int kind, int fd, const char *path)
{
    static const int away[] = {EIO, ESTALE, EINTR}, no_room[] = {ENOSPC, EDQUOT};
    uint64_t number = dice();
    int error, saved = errno;
    if (now() >= fails_until) {
        if (atomic_fetch_add(&asked, 1) < spared || number % one_in) return 0;
        if (last) fails_until = now() + dice() % last;
    }
    number = dice();
    if (kind & TAKES_ROOM && number % 100 < full)
        error = no_room[number / 100 % 2];
    else
        error = away[number / 100 % (kind & IS_INTERRUPTED ? 3 : 2)];
    note(call, strerrorname_np(error), fd, path);
    errno = saved;
    return error;
}

#define FAIL(call, kind, fd, path, failed) \
    do { \
        int error = error_of(call, kind, fd, path); \
        if (error) { errno = error; return failed; } \
    } while (0)

__attribute__((constructor)) static void begin(void)
{
    char link[64], path[PATH_MAX], command[4096] = "";
    const char *who = getenv("IO_ERRORS_WHO"), *text = getenv("IO_ERRORS_PREFIX");
    int fd = open("/proc/self/cmdline", O_RDONLY), is_worker = 0, is_run = 0;
    ssize_t length = read(fd, command, sizeof command - 1);
    close(fd);
    for (ssize_t i = 0; i < length; i += strlen(command + i) + 1) {
        is_worker |= !strcmp(command + i, "denoise_daisy.worker");
        is_run |= !strcmp(command + i, "denoise_daisy");
    }
    if (!text || !who || !(is_worker || is_run)) return;
    if (strcmp(who, "both") && is_worker != !strcmp(who, "workers")) return;
    log_file = open(getenv("IO_ERRORS_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0644);
    log_file = fcntl(log_file, F_DUPFD_CLOEXEC, FILES);
    seed = strtoul(getenv("IO_ERRORS_SEED"), 0, 10) * 1000003 + getpid();
    spared = strtoul(getenv("IO_ERRORS_AFTER"), 0, 10);
    full = strtoul(getenv("IO_ERRORS_FULL"), 0, 10);
    last = strtoul(getenv("IO_ERRORS_LAST"), 0, 10);
    prefix = text;
    one_in = strtoul(getenv("IO_ERRORS_ONE_IN"), 0, 10);
    for (fd = 0; fd < 3; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        length = readlink(link, path, sizeof path - 1);
        path[length > 0 ? length : 0] = 0;
        if (is_ours(path)) mark(fd, OPENED);
    }
}

#define OPEN(name, parameters, arguments, at) \
    int name parameters \
    { \
        va_list more; \
        mode_t mode; \
        va_start(more, flags); \
        mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        REAL(name); \
        int ours = is_ours_at(at, path), room = flags & O_CREAT ? TAKES_ROOM : 0; \
        if (ours) FAIL("open", IS_INTERRUPTED | room, -1, path, -1); \
        int fd = real arguments; \
        mark(fd, ours ? OPENED : NOT_OURS); \
        return fd; \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)
OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode), at)

int close(int fd)
{
    REAL(close);
    int had = has(fd);
    mark(fd, NOT_OURS);
    if (had == WRITTEN) {
        /* A file server may say so late; the file is closed all the same. */
        int error = error_of("close", TAKES_ROOM, fd, 0);
        if (error) { real(fd); errno = error; return -1; }
    }
    return real(fd);
}

int dup(int fd)
{
    REAL(dup);
    int other = real(fd);
    mark(other, has(fd));
    return other;
}

int dup2(int fd, int other)
{
    REAL(dup2);
    int done = real(fd, other);
    if (done >= 0) mark(other, has(fd));
    return done;
}

int dup3(int fd, int other, int flags)
{
    REAL(dup3);
    int done = real(fd, other, flags);
    if (done >= 0) mark(other, has(fd));
    return done;
}

#define CONTROL(name) \
    int name(int fd, int command, ...) \
    { \
        va_list more; \
        va_start(more, command); \
        void *argument = va_arg(more, void *); \
        va_end(more); \
        REAL(name); \
        int done = real(fd, command, argument); \
        if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) mark(done, has(fd)); \
        return done; \
    }
CONTROL(fcntl)
CONTROL(fcntl64)

ssize_t read(int fd, void *data, size_t count)
{
    REAL(read);
    if (has(fd)) FAIL("read", IS_INTERRUPTED, fd, 0, -1);
    return real(fd, data, count);
}

#define PREAD(name, offset_t) \
    ssize_t name(int fd, void *data, size_t count, offset_t at) \
    { \
        REAL(name); \
        if (has(fd)) FAIL("pread", IS_INTERRUPTED, fd, 0, -1); \
        return real(fd, data, count, at); \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

/* How many bytes are really written: sometimes fewer than asked for. */
static size_t some(int fd, size_t count)
{
    if (count < 2 || dice() % one_in) return count;
    note("write", "SHORT", fd, 0);
    return 1 + dice() % (count - 1);
}

ssize_t write(int fd, const void *data, size_t count)
{
    REAL(write);
    if (has(fd)) {
        FAIL("write", IS_INTERRUPTED | TAKES_ROOM, fd, 0, -1);
        count = some(fd, count);
        mark(fd, WRITTEN);
    }
    return real(fd, data, count);
}

#define PWRITE(name, offset_t) \
    ssize_t name(int fd, const void *data, size_t count, offset_t at) \
    { \
        REAL(name); \
        if (has(fd)) { \
            FAIL("pwrite", IS_INTERRUPTED | TAKES_ROOM, fd, 0, -1); \
            count = some(fd, count); \
            mark(fd, WRITTEN); \
        } \
        return real(fd, data, count, at); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define BY_FILE(name, parameters, arguments, kind) \
    int name parameters \
    { \
        REAL(name); \
        if (has(fd)) FAIL(#name, kind, fd, 0, -1); \
        return real arguments; \
    }
BY_FILE(fsync, (int fd), (fd), IS_INTERRUPTED | TAKES_ROOM)
BY_FILE(fdatasync, (int fd), (fd), IS_INTERRUPTED | TAKES_ROOM)
BY_FILE(ftruncate, (int fd, off_t size), (fd, size), IS_INTERRUPTED)
BY_FILE(ftruncate64, (int fd, off64_t size), (fd, size), IS_INTERRUPTED)
BY_FILE(fstat, (int fd, struct stat *s), (fd, s), 0)
BY_FILE(fstat64, (int fd, struct stat64 *s), (fd, s), 0)

#define BY_PATH(name, at, parameters, arguments, kind) \
    int name parameters \
    { \
        REAL(name); \
        if (is_ours_at(at, path)) FAIL(#name, kind, -1, path, -1); \
        return real arguments; \
    }
BY_PATH(stat, AT_FDCWD, (const char *path, struct stat *s), (path, s), 0)
BY_PATH(stat64, AT_FDCWD, (const char *path, struct stat64 *s), (path, s), 0)
BY_PATH(lstat, AT_FDCWD, (const char *path, struct stat *s), (path, s), 0)
BY_PATH(lstat64, AT_FDCWD, (const char *path, struct stat64 *s), (path, s), 0)
BY_PATH(fstatat, fd, (int fd, const char *path, struct stat *s, int flags),
        (fd, path, s, flags), 0)
BY_PATH(fstatat64, fd, (int fd, const char *path, struct stat64 *s, int flags),
        (fd, path, s, flags), 0)
BY_PATH(access, AT_FDCWD, (const char *path, int mode), (path, mode), 0)
BY_PATH(unlink, AT_FDCWD, (const char *path), (path), 0)
BY_PATH(unlinkat, fd, (int fd, const char *path, int flags), (fd, path, flags), 0)
BY_PATH(rmdir, AT_FDCWD, (const char *path), (path), 0)
BY_PATH(mkdir, AT_FDCWD, (const char *path, mode_t mode), (path, mode), TAKES_ROOM)
BY_PATH(mkdirat, fd, (int fd, const char *path, mode_t mode), (fd, path, mode), TAKES_ROOM)
BY_PATH(rename, AT_FDCWD, (const char *path, const char *to), (path, to), TAKES_ROOM)
BY_PATH(renameat, fd, (int fd, const char *path, int fd2, const char *to),
        (fd, path, fd2, to), TAKES_ROOM)

DIR *opendir(const char *path)
{
    REAL(opendir);
    int ours = is_ours(path);
    if (ours) FAIL("opendir", 0, -1, path, NULL);
    DIR *folder = real(path);
    if (folder) mark(dirfd(folder), ours ? OPENED : NOT_OURS);
    return folder;
}

int closedir(DIR *folder)
{
    REAL(closedir);
    mark(dirfd(folder), NOT_OURS);
    return real(folder);
}

#define LIST(name, entry) \
    entry *name(DIR *folder) \
    { \
        REAL(name); \
        if (has(dirfd(folder))) FAIL("readdir", 0, dirfd(folder), 0, NULL); \
        return real(folder); \
    }
LIST(readdir, struct dirent)
LIST(readdir64, struct dirent64)
