// PostgreSQL with what it has by default for durability: fsync, synchronous commit, whole pages after a checkpoint.
// A row for each job. A lease takes the oldest waiting rows that nobody else has locked (SKIP LOCKED) by a partial
// index; to settle is to delete. Each caller has a connection, so that commits of several share a sync; batches are
// arrays. A few connections do best on two processors: a process works for each.
#include "peer.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OID_BYTEA = 17, OID_INT8 = 20, CONNECT_STEPS = 120000 };

static PGconn *control;
static char address[128];
/// The connections of callers.
static PGconn *connections[CALLERS_MAX];

static PGresult *checked(PGconn *connection, PGresult *result, const char *doing) {
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail("postgres, %s: %s", doing, PQerrorMessage(connection));
    return result;
}

static void execute(PGconn *connection, const char *sql) { PQclear(checked(connection, PQexec(connection, sql), sql)); }

static void prepare(PGconn *connection, const char *name, const char *sql) {
    PQclear(checked(connection, PQprepare(connection, name, sql, 1, NULL), name));
}

/// Connects, waiting while the server starts or recovers.
static PGconn *dial(void) {
    for (int step = 0; step < CONNECT_STEPS; step++) {
        PGconn *connection = PQconnectdb(address);
        if (PQstatus(connection) == CONNECTION_OK) {
            // The table grows from nothing within seconds, so the planner knows no figures of it: say what is best.
            execute(connection, "SET client_min_messages = warning; SET enable_seqscan = off;"
                                " SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan");
            return connection;
        }
        PQfinish(connection);
        if (server_is_gone()) break;
        usleep(1000);
    }
    fail("postgres does not let anybody in; %s.log says why", settings.directory);
}

static void create_cluster(const char *directory, const char *programs) {
    char program[4096];
    // It refuses to run as root; then the directory is its own user's.
    struct passwd *account = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (mkdir(directory, 0700) != 0) fail("%s: %s", directory, strerror(errno));
    if (account && chown(directory, account->pw_uid, account->pw_gid) != 0) fail("%s: %s", directory, strerror(errno));
    snprintf(program, sizeof program, "%s/initdb", programs);
    char *arguments[] = {
        program, "-D", (char *)directory, "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale", NULL};
    run_program(arguments, "postgres");
}

static void start(void) {
    char directory[4096], program[4096], port[16];
    const char *programs = getenv("POSTGRES_PROGRAMS");
    if (!programs) fail("POSTGRES_PROGRAMS does not say where initdb and postgres are");
    snprintf(directory, sizeof directory, "%s/cluster", settings.directory);
    snprintf(program, sizeof program, "%s/postgres", programs);
    snprintf(port, sizeof port, "%d", free_port());
    if (access(directory, F_OK) != 0) create_cluster(directory, programs);
    char *arguments[] = {program, "-D", directory, "-p", port, "-h", "127.0.0.1", "-k", "", "-c",
        "shared_buffers=512MB", "-c", "max_wal_size=4GB", "-c", "min_wal_size=1GB", "-c", "wal_buffers=16MB", "-c",
        "max_connections=200", "-c", "checkpoint_timeout=15min", "-c", "fsync=on", "-c", "synchronous_commit=on", NULL};
    start_server(arguments, "postgres");
    snprintf(address, sizeof address, "host=127.0.0.1 port=%s user=bench dbname=postgres", port);
    control = dial();
    execute(control,
        "CREATE TABLE IF NOT EXISTS job (id bigserial PRIMARY KEY, queue text NOT NULL DEFAULT 'bench',"
        " priority smallint NOT NULL DEFAULT 0, attempts smallint NOT NULL DEFAULT 0, leased_until timestamptz,"
        " payload bytea NOT NULL)");
    execute(control, "CREATE INDEX IF NOT EXISTS waiting ON job (queue, priority, id) WHERE leased_until IS NULL");
}

static PGconn *connection_of(const struct call *call) {
    if (connections[call->caller]) return connections[call->caller];
    PGconn *connection = connections[call->caller] = dial();
    prepare(connection, "enqueue", "INSERT INTO job (payload) VALUES ($1::bytea)");
    prepare(connection, "enqueue_all", "INSERT INTO job (payload) SELECT unnest($1::bytea[])");
    prepare(connection, "lease",
        // An array, and not a join: the planner, who doesn't know the limit, would read the whole table for that.
        "UPDATE job SET leased_until = now() + interval '30 seconds', attempts = attempts + 1 WHERE id = ANY (ARRAY("
        "SELECT id FROM job WHERE queue = 'bench' AND leased_until IS NULL ORDER BY priority, id LIMIT $1::bigint"
        " FOR UPDATE SKIP LOCKED)) RETURNING id, payload");
    prepare(connection, "settle", "DELETE FROM job WHERE id = $1::bigint");
    prepare(connection, "settle_all", "DELETE FROM job WHERE id = ANY ($1::bigint[])");
    return connection;
}

// ---------------------------------------------------------------------------------------------------------------------
// The binary form of numbers and arrays.

static char *put4(char *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static char *put8(char *at, uint64_t value) { return put4(put4(at, (uint32_t)(value >> 32)), (uint32_t)value); }

static uint64_t read8(const char *at) {
    uint32_t halves[2];
    memcpy(halves, at, sizeof halves);
    return (uint64_t)ntohl(halves[0]) << 32 | ntohl(halves[1]);
}

/// One dimension, no nulls, `count` elements from 1 on.
static char *put_array(char *at, uint32_t type, int count) {
    return put4(put4(put4(put4(put4(at, 1), 0), type), (uint32_t)count), 1);
}

static PGresult *ask(PGconn *connection, const char *name, const char *value, size_t bytes) {
    const char *values[] = {value};
    int lengths[] = {(int)bytes}, formats[] = {1};
    return checked(connection, PQexecPrepared(connection, name, 1, values, lengths, formats, 1), name);
}

static void perform(struct call *call) {
    PGconn *connection = connection_of(call);
    if (!call->state && !(call->state = malloc(BATCH_MAX * (settings.payload_bytes + 4) + 64))) fail("no memory");
    char *text = call->state, *end = text;
    PGresult *result = NULL;
    switch (call->kind) {
    case CALL_ENQUEUE:
        if (call->count == 1) {
            result = ask(connection, "enqueue", (const char *)payload_of(call, 0), settings.payload_bytes);
            break;
        }
        end = put_array(end, OID_BYTEA, call->count);
        for (int i = 0; i < call->count; i++) {
            end = put4(end, (uint32_t)settings.payload_bytes);
            memcpy(end, payload_of(call, i), settings.payload_bytes);
            end += settings.payload_bytes;
        }
        result = ask(connection, "enqueue_all", text, (size_t)(end - text));
        break;
    case CALL_LEASE:
        end = put8(end, (uint64_t)call->count);
        result = ask(connection, "lease", text, (size_t)(end - text));
        for (int i = 0; i < PQntuples(result); i++)
            leased_job(call, read8(PQgetvalue(result, i, 0)), PQgetvalue(result, i, 1),
                (size_t)PQgetlength(result, i, 1));
        PQclear(result);
        return;
    case CALL_SETTLE:
        if (call->count > 1) end = put_array(end, OID_INT8, call->count);
        for (int i = 0; i < call->count; i++) {
            if (call->count > 1) end = put4(end, 8);
            end = put8(end, call->ids[i]);
        }
        result = ask(connection, call->count > 1 ? "settle_all" : "settle", text, (size_t)(end - text));
    }
    if (atoi(PQcmdTuples(result)) != call->count)
        fail("postgres: %s jobs were done of %d", PQcmdTuples(result), call->count);
    PQclear(result);
}

static void relax(bool on) {
    struct call first = {.caller = 0};
    execute(connection_of(&first), on ? "SET synchronous_commit = off" : "SET synchronous_commit = on");
    if (on) return;
    execute(control, "VACUUM ANALYZE job");
    execute(control, "CHECKPOINT");
}

static long pending(void) {
    execute(control, "SET enable_seqscan = on");
    PGresult *result = checked(control, PQexec(control, "SELECT count(*) FROM job"), "count");
    long count = atol(PQgetvalue(result, 0, 0));
    PQclear(result);
    return count;
}

static void stop(bool is_killed) {
    for (int i = 0; i < CALLERS_MAX && !is_killed; i++)
        if (connections[i]) PQfinish(connections[i]);
    if (!is_killed) PQfinish(control);
    // An interrupt asks for a fast and orderly end.
    stop_server(is_killed ? SIGKILL : SIGINT);
}

static struct peer make(void) {
    return (struct peer){.name = "postgres", .is_durable = true, .has_batches = true, .callers_max = 16,
        .batch_callers_max = 6, .start = start, .stop = stop, .relax = relax, .pending = pending, .perform = perform};
}

int main(int argc, char **argv) { return run_peer(argc, argv, make); }
