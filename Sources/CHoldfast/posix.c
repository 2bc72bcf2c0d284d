// The system calls that Swift can't make: open(2) is variadic, and the locks, flags and syncs differ by platform.
// Each returns its error as -errno, so that nothing between the call and Swift can overwrite errno.

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "CHoldfast.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/random.h>
#endif

int holdfast_open(const char *path, int flags, mode_t mode) {
    int descriptor;
    do {
        descriptor = open(path, flags | O_CLOEXEC, mode);
    } while (descriptor < 0 && errno == EINTR);
    return descriptor < 0 ? -errno : descriptor;
}

int holdfast_direct_flag(void) {
#if defined(O_DIRECT)
    return O_DIRECT;
#else
    return 0;
#endif
}

int holdfast_dsync_flag(void) { return O_DSYNC; }

int holdfast_write_back(int descriptor, off_t offset, off_t length) {
#if defined(__linux__)
    unsigned int whole = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    // Where there is no such call, or a filter forbids it, nothing was asked of the file; any other error is one of its
    // writes, which the sync that follows will not report again.
    if (sync_file_range(descriptor, offset, length, whole) == 0 || errno == ENOSYS || errno == EPERM) {
        return 0;
    }
    return -errno;
#else
    (void)descriptor;
    (void)offset;
    (void)length;
    return 0;
#endif
}

#if defined(F_OFD_SETLK)

// A lock of the open file description: unlike a POSIX lock it is not lost when some other descriptor of the file is
// closed, and unlike flock it works on network file systems. It goes when the description is closed.
static struct flock whole_file(void) {
    struct flock lock;
    memset(&lock, 0, sizeof(lock));
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return lock;
}

int holdfast_lock_exclusive(int descriptor) {
    struct flock lock = whole_file();
    int result;
    do {
        result = fcntl(descriptor, F_OFD_SETLK, &lock);
    } while (result < 0 && errno == EINTR);
    if (result == 0) {
        return 0;
    }
    return errno == EACCES ? -EAGAIN : -errno;
}

int holdfast_unlock(int descriptor) {
    struct flock lock = whole_file();
    lock.l_type = F_UNLCK;
    return fcntl(descriptor, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

int holdfast_lock_held(int descriptor) {
    struct flock lock = whole_file();
    if (fcntl(descriptor, F_OFD_GETLK, &lock) < 0) {
        return -errno;
    }
    return lock.l_type == F_UNLCK ? 0 : 1;
}

#else

int holdfast_lock_exclusive(int descriptor) {
    int result;
    do {
        result = flock(descriptor, LOCK_EX | LOCK_NB);
    } while (result < 0 && errno == EINTR);
    if (result == 0) {
        return 0;
    }
    return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

int holdfast_unlock(int descriptor) { return flock(descriptor, LOCK_UN) < 0 ? -errno : 0; }

int holdfast_lock_held(int descriptor) {
    // There is no way to ask without taking it for a moment; a shared lock at least leaves other askers alone.
    if (flock(descriptor, LOCK_SH | LOCK_NB) == 0) {
        flock(descriptor, LOCK_UN);
        return 0;
    }
    return errno == EWOULDBLOCK ? 1 : -errno;
}

#endif

// Never repeated after a failure, not even EINTR: a second call may report success for pages the first one lost.
int holdfast_sync_data(int descriptor) {
#if defined(F_FULLFSYNC)
    return holdfast_sync_all(descriptor);
#else
    return fdatasync(descriptor) < 0 ? -errno : 0;
#endif
}

int holdfast_sync_all(int descriptor) {
#if defined(F_FULLFSYNC)
    // fsync on Darwin stops at the device's cache. File systems without F_FULLFSYNC say so before they do anything.
    if (fcntl(descriptor, F_FULLFSYNC) == 0) {
        return 0;
    }
    if (errno != ENOTSUP && errno != ENOTTY && errno != EINVAL) {
        return -errno;
    }
#endif
    return fsync(descriptor) < 0 ? -errno : 0;
}

void holdfast_random(uint8_t *buffer, size_t count) {
#if defined(__linux__)
    while (count > 0) {
        ssize_t got = getrandom(buffer, count, 0);
        if (got < 0 && errno != EINTR) {
            // No kernel that this runs on lacks the call; ids that are not random must never be made.
            abort();
        }
        if (got > 0) {
            buffer += got;
            count -= (size_t)got;
        }
    }
#else
    arc4random_buf(buffer, count);
#endif
}
