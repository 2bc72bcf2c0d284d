// A Redis stream with an append-only file that is synced at every write.
//   enqueue  XADD; lease  XREADGROUP, which notes in the file who has what; settle  XACK and XDEL
// Redis syncs once for all the requests that it finds waiting, and answers after that, so requests that are sent at
// once share a sync. It reads 16 KiB of a connection at a time: few connections do best with small requests, several
// with batches, whose requests are longer than that.
#include "peer.h"
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16, QUEUE_SIZE = 2 * CALLERS_MAX, SEQUENCE_BITS = 20, ID_SIZE = 48 };

struct connection {
    redisContext *context;
    /// The calls whose replies are still to come, in that order.
    struct call *calls[QUEUE_SIZE];
    unsigned first, behind;
    bool has_unsent;
};

static struct connection connections[CONNECTIONS_MAX];
static int connection_count;
static redisContext *control;
static int port;

static redisContext *dial(void) {
    redisContext *context = redisConnect("127.0.0.1", port);
    if (!context || context->err) fail("redis can't be reached: %s", context ? context->errstr : "no memory");
    int on = 1;
    setsockopt(context->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return context;
}

static redisReply *ask(const char *command) {
    redisReply *reply = redisCommand(control, command);
    if (!reply) fail("redis: %s", control->errstr);
    return reply;
}

static void start(void) {
    char text[16];
    port = free_port();
    snprintf(text, sizeof text, "%d", port);
    char *arguments[] = {"redis-server", "--port", text, "--bind", "127.0.0.1", "--dir", (char *)settings.directory,
        "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no", NULL};
    start_server(arguments, NULL);
    close(connect_to(port));
    control = dial();
    // While it reads its file it answers that it is loading.
    for (bool is_up = false; !is_up;) {
        redisReply *reply = ask("PING");
        is_up = reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
        if (!is_up) usleep(500);
    }
    // Refused when the group is there already.
    freeReplyObject(ask("XGROUP CREATE jobs workers 0 MKSTREAM"));
    connection_count = settings.batch > 1 ? CONNECTIONS_MAX : settings.payload_bytes > 512 ? 4 : 1;
    for (int i = 0; i < connection_count; i++) connections[i].context = dial();
}

static void append(redisContext *context, int count, const char **words, const size_t *lengths) {
    if (redisAppendCommandArgv(context, count, words, lengths) != REDIS_OK) fail("redis: %s", context->errstr);
}

static void send_request(struct call *call) {
    struct connection *connection = &connections[call->caller % connection_count];
    redisContext *context = connection->context;
    const char *words[BATCH_MAX + 3];
    call->missing = 1;
    if (call->kind == CALL_ENQUEUE) {
        for (int i = 0; i < call->count; i++) {
            const char *add[] = {"XADD", "jobs", "*", "p", (const char *)payload_of(call, i)};
            append(context, 5, add, (size_t[]){4, 4, 1, 1, settings.payload_bytes});
        }
        call->missing = call->count;
    } else if (call->kind == CALL_LEASE) {
        char count[16];
        snprintf(count, sizeof count, "%d", call->count);
        const char *read[] = {"XREADGROUP", "GROUP", "workers", "w", "COUNT", count, "STREAMS", "jobs", ">"};
        append(context, 9, read, NULL);
    } else {
        static char ids[BATCH_MAX][ID_SIZE];
        words[0] = "XACK", words[1] = "jobs", words[2] = "workers";
        for (int i = 0; i < call->count; i++) {
            snprintf(ids[i], ID_SIZE, "%llu-%llu", (unsigned long long)(call->ids[i] >> SEQUENCE_BITS),
                (unsigned long long)(call->ids[i] & ((1u << SEQUENCE_BITS) - 1)));
            words[3 + i] = ids[i];
        }
        append(context, 3 + call->count, words, NULL);
        // The same without the group.
        words[1] = "XDEL", words[2] = "jobs";
        append(context, 2 + call->count, words + 1, NULL);
        call->missing = 2;
    }
    connection->calls[connection->behind++ % QUEUE_SIZE] = call;
    connection->has_unsent = true;
}

/// A lease's reply: one stream, with its entries, each an id and a list of one name and one value.
static void take_jobs(struct call *call, const redisReply *reply) {
    const redisReply *entries = reply->element[0]->element[1];
    for (size_t i = 0; i < entries->elements; i++) {
        const redisReply *id = entries->element[i]->element[0], *value = entries->element[i]->element[1]->element[1];
        char *end = NULL;
        uint64_t milliseconds = strtoull(id->str, &end, 10);
        leased_job(call, milliseconds << SEQUENCE_BITS | strtoull(end + 1, NULL, 10), value->str, value->len);
    }
}

/// Gives the reply to the call that waits for it; whether the call is done.
static bool take_reply(struct call *call, const redisReply *reply) {
    if (reply->type == REDIS_REPLY_ERROR) fail("redis: %s", reply->str);
    if (call->kind == CALL_LEASE && reply->type == REDIS_REPLY_ARRAY) take_jobs(call, reply);
    if (call->kind == CALL_SETTLE && reply->integer != call->count)
        fail("redis settled %lld jobs of %d", reply->integer, call->count);
    return --call->missing == 0;
}

static int take_replies(struct connection *connection, struct call **done, int max) {
    int count = 0;
    while (count < max) {
        void *reply = NULL;
        if (redisGetReplyFromReader(connection->context, &reply) != REDIS_OK)
            fail("redis: %s", connection->context->errstr);
        if (!reply) break;
        struct call *call = connection->calls[connection->first % QUEUE_SIZE];
        if (take_reply(call, reply)) {
            connection->first++;
            done[count++] = call;
        }
        freeReplyObject(reply);
    }
    return count;
}

static int take(struct call **done, int max) {
    for (;;) {
        struct pollfd polls[CONNECTIONS_MAX];
        int count = 0;
        // What has been read and not been taken comes first.
        for (int i = 0; i < connection_count && count < max; i++)
            count += take_replies(&connections[i], done + count, max - count);
        if (count > 0) return count;
        for (int i = 0; i < connection_count; i++) {
            struct connection *connection = &connections[i];
            int is_done = 1;
            if (connection->has_unsent && redisBufferWrite(connection->context, &is_done) != REDIS_OK)
                fail("redis: %s", connection->context->errstr);
            connection->has_unsent = connection->has_unsent && !is_done;
            short events = (short)(POLLIN | (connection->has_unsent ? POLLOUT : 0));
            polls[i] = (struct pollfd){.fd = connection->context->fd, .events = events};
        }
        if (poll(polls, (nfds_t)connection_count, -1) < 0 && errno != EINTR) fail("poll: %s", strerror(errno));
        for (int i = 0; i < connection_count; i++) {
            if (!(polls[i].revents & (POLLIN | POLLHUP | POLLERR))) continue;
            if (redisBufferRead(connections[i].context) != REDIS_OK) fail("redis: %s", connections[i].context->errstr);
        }
    }
}

static void relax(bool on) {
    freeReplyObject(ask(on ? "CONFIG SET appendfsync no" : "CONFIG SET appendfsync always"));
}

static long pending(void) {
    redisReply *reply = ask("XLEN jobs");
    long count = (long)reply->integer;
    freeReplyObject(reply);
    return count;
}

static void stop(bool is_killed) { stop_server(is_killed ? SIGKILL : SIGTERM); }

static struct peer make(void) {
    return (struct peer){.name = "redis", .is_durable = true, .has_batches = true, .start = start, .stop = stop,
        .relax = relax, .pending = pending, .send = send_request, .take = take};
}

int main(int argc, char **argv) { return run_peer(argc, argv, make); }
