// What Swift can't reach or can't make fast: checksums with processor instructions, and a few system calls.
#ifndef HOLDFAST_H
#define HOLDFAST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// CRC-32C of `count` bytes, continued from `seed`; `bytes` may be NULL when `count` is 0.
uint32_t holdfast_crc32c(uint32_t seed, const uint8_t *bytes, size_t count);
/// The portable path, for testing the fast one against.
uint32_t holdfast_crc32c_portable(uint32_t seed, const uint8_t *bytes, size_t count);

typedef struct {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} holdfast_sha256;

void holdfast_sha256_init(holdfast_sha256 *context);
void holdfast_sha256_update(holdfast_sha256 *context, const uint8_t *bytes, size_t count);
void holdfast_sha256_final(holdfast_sha256 *context, uint8_t digest[32]);
/// Compresses `blocks` 64-byte blocks without processor instructions, for testing the fast path against.
void holdfast_sha256_blocks_portable(uint32_t state[8], const uint8_t *bytes, size_t blocks);
/// Puts SHA-256(hash, gap in base 128 with the low groups first, kind, `count` bytes of `body`) in the place of `hash`;
/// `body` may be NULL when `count` is 0.
void holdfast_audit_link(uint8_t hash[32], uint64_t gap, uint8_t kind, const uint8_t *body, size_t count);

/// open(2) with O_CLOEXEC; `flags` as in fcntl.h. Returns a descriptor or -errno.
int holdfast_open(const char *path, int flags, mode_t mode);
/// The O_DIRECT flag, or 0 where the platform has none.
int holdfast_direct_flag(void);
/// The O_DSYNC flag.
int holdfast_dsync_flag(void);
/// Passes a range of a file to the device and waits for that; 0, also where the system or the file system can't.
int holdfast_write_back(int descriptor, off_t offset, off_t length);
/// Takes an exclusive open-file-description lock on the whole file without waiting.
/// Returns 0, -EAGAIN when another description holds it, or -errno.
int holdfast_lock_exclusive(int descriptor);
/// Releases that lock even while another process, forked but not yet exec'd, shares the description. 0 or -errno.
int holdfast_unlock(int descriptor);
/// 1 when an exclusive lock on the file is held by someone else, 0 when not, -errno on failure.
int holdfast_lock_held(int descriptor);
/// Makes written data durable, through the device's cache (fdatasync, F_FULLFSYNC on Darwin). 0 or -errno.
int holdfast_sync_data(int descriptor);
/// Makes data and metadata durable; for directories too. 0 or -errno.
int holdfast_sync_all(int descriptor);
/// Fills `buffer` with bytes from the system's random source.
void holdfast_random(uint8_t *buffer, size_t count);

/// Starts a thread that runs `body(argument)` with a stack of `stack_bytes` and all signals but those of faults
/// blocked.
/// Returns 0 and a handle for one join or detach, or -errno.
int holdfast_thread_start(uintptr_t *thread, size_t stack_bytes, void *(*body)(void *argument), void *argument);
/// Names the calling thread; what the platform can't hold is cut off.
void holdfast_thread_set_name(const char *name);
/// Offers the calling thread's processor to others that are ready.
void holdfast_thread_give_way(void);
/// Waits for a thread to end. 0 or -errno.
int holdfast_thread_join(uintptr_t thread);
/// Lets a thread end on its own.
void holdfast_thread_detach(uintptr_t thread);
/// What the calling thread keeps; NULL at first.
void *holdfast_thread_kept(void);
/// Makes the calling thread keep `object` in the place of what it kept, until it ends and `release(object)` is called:
/// the same function in every call.
void holdfast_thread_keep(void *object, void (*release)(void *object));
/// What the calling thread remembers of the schedule that it is under; NULL at first.
void *holdfast_thread_seat(void);
/// Makes the calling thread remember it.
void holdfast_set_thread_seat(void *seat);

#endif
