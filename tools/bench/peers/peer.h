// The other systems, behind one interface: each is one file that fills in a `struct peer`, linked with driver.c, which
// runs the workloads, checks every job and prints the lines. Durability is the same everywhere: a call returns when
// what it did would survive the loss of power, or the line says that it would not.
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "../payload/include/CBenchPayload.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { BATCH_MAX = 100, CALLERS_MAX = 1024 };

enum call_kind { CALL_ENQUEUE, CALL_LEASE, CALL_SETTLE };

/// What one caller wants done now. A caller wants one thing at a time.
struct call {
    enum call_kind kind;
    /// Which caller it is, from 0 on.
    int caller;
    /// Jobs to enqueue or to settle; for a lease how many are wanted, and `leased` counts what came.
    int count;
    int leased;
    /// To enqueue: `count` payloads, one behind the other.
    uint8_t *payloads;
    /// To settle: what the lease gave.
    uint64_t ids[BATCH_MAX];
    /// The peer's own, from call to call of this caller.
    void *state;
    /// Replies that are still to come, for the peer.
    int missing;
};

/// A system that is compared.
struct peer {
    const char *name;
    /// What a reader has to know to read the figures right; NULL for nothing.
    const char *remark;
    bool is_durable;
    /// Whether one call can move many jobs.
    bool has_batches;
    /// The number of callers with which it does best, where that is less than asked; 0 for any.
    int callers_max, batch_callers_max;

    /// Opens the store in `settings.directory`, or creates it, with its server if it has one.
    void (*start)(void);
    /// Ends it; `kill` leaves it as a crash would.
    void (*stop)(bool kill);
    /// Switches syncs off, to fill the store, and on again.
    void (*relax)(bool on);
    /// Jobs in the store, leased ones too.
    long (*pending)(void);

    // How callers wait is one of three:
    /// Threads: each blocks until its call is done.
    void (*perform)(struct call *call);
    /// One thread: does all the calls in one commit.
    void (*perform_all)(struct call **calls, int count);
    /// One thread: sends requests, then takes replies as they come; `take` waits for one at least.
    void (*send)(struct call *call);
    int (*take)(struct call **done, int max);
};

/// What was asked for on the command line.
struct settings {
    const char *directory;
    size_t payload_bytes;
    double seconds, warm_up;
    int callers;
    long backlog;
    /// Jobs in one call.
    int batch;
    /// Which of its ways the peer shall work in; "" for the usual one.
    const char *mode;
};
extern struct settings settings;

// For the peers, in driver.c.

/// Takes a job that a lease gave, and checks its payload.
void leased_job(struct call *call, uint64_t id, const void *payload, size_t count);
/// One of the payloads to be enqueued.
const uint8_t *payload_of(const struct call *call, int index);
/// Runs the workload of the command line; what `main` returns.
int run_peer(int argc, char **argv, struct peer (*make)(void));

// For the peers, in support.c.

/// Says what is wrong, and ends.
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);
/// The process of the server; 0 when there is none.
extern pid_t server;
/// Starts the server, under another user when run as root and `user` is not NULL. It dies with this process.
void start_server(char *const arguments[], const char *user);
/// Runs a program to its end, and fails when it does.
void run_program(char *const arguments[], const char *user);
/// Ends the server and waits until it and its children are gone.
void stop_server(int signal);
/// A port of the loopback interface on which nobody listens.
int free_port(void);
/// Connects to the server, waiting until it listens.
int connect_to(int port);
/// Whether the server has ended.
bool server_is_gone(void);

/// Nanoseconds of a clock that never goes back.
uint64_t monotonic_now(void);
/// Milliseconds since 1970.
int64_t wall_milliseconds(void);
/// Processor seconds of this process and the server, and of user space for all.
struct figures {
    double user, system, everyones_user;
};
struct figures figures_now(void);
/// Bytes in memory: of the server, or of this process.
double resident_bytes(void);
/// Bytes allocated to the files of the store.
double disk_bytes(void);
double load_average(void);
/// Removes the store.
void remove_store(void);

#endif
