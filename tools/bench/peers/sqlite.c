// SQLite in this process: a write-ahead log, synced at every commit.
//   (usual)  a thread for each caller, a transaction for each call: how job queues on SQLite work
//   group    all waiting calls in one transaction: the best that one can build on it
// A lease is one statement that finds the oldest waiting job by a partial index and marks it. One connection serves
// all: a second one could not write at the same time either.
#include "peer.h"
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static sqlite3 *database;
static sqlite3_stmt *begin_statement, *commit_statement, *enqueue, *lease, *settle;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void check(int result, const char *doing) {
    if (result != SQLITE_OK && result != SQLITE_DONE && result != SQLITE_ROW)
        fail("sqlite, %s: %s", doing, sqlite3_errmsg(database));
}

static void execute(const char *sql) { check(sqlite3_exec(database, sql, NULL, NULL, NULL), sql); }

static sqlite3_stmt *prepare(const char *sql) {
    sqlite3_stmt *statement = NULL;
    check(sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), sql);
    return statement;
}

static void run(sqlite3_stmt *statement) {
    check(sqlite3_step(statement), sqlite3_sql(statement));
    sqlite3_reset(statement);
}

static void start(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/jobs.db", settings.directory);
    check(sqlite3_open(path, &database), "open");
    execute("PRAGMA journal_mode = WAL");
    execute("PRAGMA synchronous = FULL");
    execute("PRAGMA cache_size = -65536");
    execute("PRAGMA temp_store = MEMORY");
    execute("CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL,"
            " priority INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, leased_until INTEGER,"
            " payload BLOB NOT NULL)");
    execute("CREATE INDEX IF NOT EXISTS waiting ON job (queue, priority, id) WHERE leased_until IS NULL");
    begin_statement = prepare("BEGIN IMMEDIATE");
    commit_statement = prepare("COMMIT");
    enqueue = prepare("INSERT INTO job (queue, priority, payload) VALUES ('bench', 0, ?1)");
    lease = prepare("UPDATE job SET leased_until = ?1, attempts = attempts + 1 WHERE id IN (SELECT id FROM job"
                    " WHERE queue = 'bench' AND leased_until IS NULL ORDER BY priority, id LIMIT ?2)"
                    " RETURNING id, payload");
    settle = prepare("DELETE FROM job WHERE id = ?1");
}

static void perform_within(struct call *call) {
    switch (call->kind) {
    case CALL_ENQUEUE:
        for (int i = 0; i < call->count; i++) {
            sqlite3_bind_blob(enqueue, 1, payload_of(call, i), (int)settings.payload_bytes, SQLITE_STATIC);
            run(enqueue);
        }
        break;
    case CALL_LEASE:
        sqlite3_bind_int64(lease, 1, wall_milliseconds() + 30000);
        sqlite3_bind_int(lease, 2, call->count);
        for (int result; (result = sqlite3_step(lease)) != SQLITE_DONE;) {
            check(result, "lease");
            leased_job(call, (uint64_t)sqlite3_column_int64(lease, 0), sqlite3_column_blob(lease, 1),
                (size_t)sqlite3_column_bytes(lease, 1));
        }
        sqlite3_reset(lease);
        break;
    case CALL_SETTLE:
        for (int i = 0; i < call->count; i++) {
            sqlite3_bind_int64(settle, 1, (sqlite3_int64)call->ids[i]);
            run(settle);
            if (sqlite3_changes(database) != 1) fail("sqlite: a leased job is not there");
        }
    }
}

static void perform_all(struct call **calls, int count) {
    run(begin_statement);
    for (int i = 0; i < count; i++) perform_within(calls[i]);
    run(commit_statement);
}

static void perform(struct call *call) {
    pthread_mutex_lock(&mutex);
    perform_all(&call, 1);
    pthread_mutex_unlock(&mutex);
}

static void relax(bool on) { execute(on ? "PRAGMA synchronous = OFF" : "PRAGMA synchronous = FULL"); }

static long pending(void) {
    sqlite3_stmt *statement = prepare("SELECT count(*) FROM job");
    check(sqlite3_step(statement), "count");
    long count = (long)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return count;
}

static void stop(bool is_killed) {
    // Closing would move the log into the database; a crash does not.
    if (is_killed) return;
    sqlite3_stmt *statements[] = {begin_statement, commit_statement, enqueue, lease, settle};
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) sqlite3_finalize(statements[i]);
    check(sqlite3_close(database), "close");
}

static struct peer make(void) {
    struct peer peer = {
        .name = "sqlite", .is_durable = true, .has_batches = true, .start = start, .stop = stop, .relax = relax,
        .pending = pending, .perform = perform};
    if (strcmp(settings.mode, "group") == 0) {
        peer.name = "sqlite-group";
        peer.perform = NULL;
        peer.perform_all = perform_all;
    }
    return peer;
}

int main(int argc, char **argv) { return run_peer(argc, argv, make); }
