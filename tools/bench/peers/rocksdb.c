// RocksDB in this process: keys and values, each write synced.
//   (usual)  a thread for each caller and a write for each call; RocksDB lets writes that wait share a sync
//   group    all waiting calls in one write from one thread
// It has no queue, so one is put on top: "p" and the job's number hold the payload, "l" and the number the lease.
// Which jobs wait is kept in memory, in order, and found by one pass over the keys at the start: to look for the first
// waiting job among the keys would mean to go past every job that was settled.
#include "peer.h"
#include <pthread.h>
#include <rocksdb/c.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SIZE = 9, LEASE_MILLISECONDS = 30000 };

static rocksdb_t *database;
static rocksdb_writeoptions_t *writing;
static rocksdb_readoptions_t *reading;

/// Numbers of waiting jobs, a ring that grows. Guarded by the mutex, as the next number.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t *waiting;
static size_t waiting_size, waiting_first, waiting_count;
static uint64_t next_id = 1;

static void check(char *error, const char *doing) {
    if (error) fail("rocksdb, %s: %s", doing, error);
}

static void make_key(char key[KEY_SIZE], char kind, uint64_t id) {
    key[0] = kind;
    for (int i = 0; i < 8; i++) key[1 + i] = (char)(id >> (56 - 8 * i));
}

static uint64_t id_of_key(const char *key) {
    uint64_t id = 0;
    for (int i = 0; i < 8; i++) id = id << 8 | (uint8_t)key[1 + i];
    return id;
}

static void add_waiting(uint64_t id) {
    if (waiting_count == waiting_size) {
        size_t size = waiting_size ? 2 * waiting_size : 4096;
        uint64_t *ring = malloc(size * sizeof *ring);
        if (!ring) fail("no memory");
        for (size_t i = 0; i < waiting_count; i++) ring[i] = waiting[(waiting_first + i) % waiting_size];
        free(waiting);
        waiting = ring, waiting_size = size, waiting_first = 0;
    }
    waiting[(waiting_first + waiting_count++) % waiting_size] = id;
}

/// Finds the waiting jobs: those with a payload and no lease. Both kinds of keys are in the order of the numbers.
static void find_waiting(void) {
    size_t length;
    rocksdb_iterator_t *jobs = rocksdb_create_iterator(database, reading);
    rocksdb_iterator_t *leases = rocksdb_create_iterator(database, reading);
    rocksdb_iter_seek(leases, "l", 1);
    for (rocksdb_iter_seek(jobs, "p", 1); rocksdb_iter_valid(jobs); rocksdb_iter_next(jobs)) {
        uint64_t id = id_of_key(rocksdb_iter_key(jobs, &length));
        next_id = id + 1;
        const char *lease = rocksdb_iter_valid(leases) ? rocksdb_iter_key(leases, &length) : NULL;
        if (lease && lease[0] == 'l' && id_of_key(lease) == id) rocksdb_iter_next(leases);
        else add_waiting(id);
    }
    rocksdb_iter_destroy(jobs);
    rocksdb_iter_destroy(leases);
}

static void start(void) {
    char *error = NULL, path[4096];
    snprintf(path, sizeof path, "%s/rocks", settings.directory);
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_increase_parallelism(options, 2);
    database = rocksdb_open(options, path, &error);
    check(error, "open");
    rocksdb_options_destroy(options);
    writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(writing, 1);
    reading = rocksdb_readoptions_create();
    find_waiting();
}

/// Adds what a call writes. Jobs to be leased leave the ring here, and come into it when they are durable.
static void prepare(struct call *call, rocksdb_writebatch_t *batch) {
    char key[KEY_SIZE];
    if (call->kind == CALL_SETTLE) {
        for (int i = 0; i < call->count; i++) {
            make_key(key, 'p', call->ids[i]);
            rocksdb_writebatch_delete(batch, key, KEY_SIZE);
            make_key(key, 'l', call->ids[i]);
            rocksdb_writebatch_delete(batch, key, KEY_SIZE);
        }
        return;
    }
    uint64_t *ids = call->state ? call->state : (call->state = calloc(BATCH_MAX, sizeof *ids));
    if (!ids) fail("no memory");
    pthread_mutex_lock(&mutex);
    if (call->kind == CALL_ENQUEUE) {
        for (int i = 0; i < call->count; i++) ids[i] = next_id++;
        call->missing = call->count;
    } else {
        for (call->missing = 0; call->missing < call->count && waiting_count > 0; waiting_count--) {
            ids[call->missing++] = waiting[waiting_first];
            waiting_first = (waiting_first + 1) % waiting_size;
        }
    }
    pthread_mutex_unlock(&mutex);
    int64_t until = wall_milliseconds() + LEASE_MILLISECONDS;
    for (int i = 0; i < call->missing; i++) {
        make_key(key, call->kind == CALL_ENQUEUE ? 'p' : 'l', ids[i]);
        if (call->kind == CALL_ENQUEUE)
            rocksdb_writebatch_put(batch, key, KEY_SIZE, (const char *)payload_of(call, i), settings.payload_bytes);
        else rocksdb_writebatch_put(batch, key, KEY_SIZE, (const char *)&until, sizeof until);
    }
}

/// Goes on when the writes are durable.
static void complete(struct call *call) {
    const uint64_t *ids = call->state;
    if (call->kind == CALL_ENQUEUE) {
        pthread_mutex_lock(&mutex);
        for (int i = 0; i < call->count; i++) add_waiting(ids[i]);
        pthread_mutex_unlock(&mutex);
    }
    if (call->kind != CALL_LEASE) return;
    for (int i = 0; i < call->missing; i++) {
        char key[KEY_SIZE], *error = NULL;
        size_t length;
        make_key(key, 'p', ids[i]);
        rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(database, reading, key, KEY_SIZE, &error);
        check(error, "get");
        if (!slice) fail("rocksdb: a waiting job has no payload");
        const char *payload = rocksdb_pinnableslice_value(slice, &length);
        leased_job(call, ids[i], payload, length);
        rocksdb_pinnableslice_destroy(slice);
    }
}

static void perform_all(struct call **calls, int count) {
    char *error = NULL;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (int i = 0; i < count; i++) prepare(calls[i], batch);
    if (rocksdb_writebatch_count(batch) > 0) rocksdb_write(database, writing, batch, &error);
    check(error, "write");
    rocksdb_writebatch_destroy(batch);
    for (int i = 0; i < count; i++) complete(calls[i]);
}

static void perform(struct call *call) { perform_all(&call, 1); }

static void relax(bool on) { rocksdb_writeoptions_set_sync(writing, !on); }

static long pending(void) {
    long count = 0;
    rocksdb_iterator_t *jobs = rocksdb_create_iterator(database, reading);
    for (rocksdb_iter_seek(jobs, "p", 1); rocksdb_iter_valid(jobs); rocksdb_iter_next(jobs)) count++;
    rocksdb_iter_destroy(jobs);
    return count;
}

static void stop(bool is_killed) {
    if (!is_killed) rocksdb_close(database);
}

static struct peer make(void) {
    struct peer peer = {
        .name = "rocksdb", .is_durable = true, .has_batches = true, .start = start, .stop = stop, .relax = relax,
        .pending = pending, .perform = perform};
    if (strcmp(settings.mode, "group") == 0) {
        peer.name = "rocksdb-group";
        peer.perform = NULL;
        peer.perform_all = perform_all;
    }
    return peer;
}

int main(int argc, char **argv) { return run_peer(argc, argv, make); }
