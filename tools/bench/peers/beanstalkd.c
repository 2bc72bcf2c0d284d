// beanstalkd with a log that is synced at every write.
//   enqueue  put; lease  reserve; settle  delete
// A reserve is not logged: after a crash the job is ready again, so a cycle costs two syncs where others need three.
// It answers one request after the other and syncs for each; sending many at once saves round trips, not syncs.
#define _GNU_SOURCE
#include "peer.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 8, QUEUE_SIZE = 2 * CALLERS_MAX, BUFFER_SIZE = 8 << 20, PRIORITY = 0, SECONDS_TO_RUN = 60 };

struct connection {
    int descriptor;
    /// The calls whose replies are still to come, in that order.
    struct call *calls[QUEUE_SIZE];
    unsigned first, behind;
    char *unsent, *unread;
    size_t unsent_bytes, unread_bytes;
};

static struct connection connections[CONNECTIONS];
static int port;
static bool is_relaxed;

static void start_it(void) {
    char text[16];
    port = free_port();
    snprintf(text, sizeof text, "%d", port);
    // Milliseconds between two syncs; 0 is a sync at every write.
    char *arguments[] = {"beanstalkd", "-l", "127.0.0.1", "-p", text, "-b", (char *)settings.directory, "-f",
        is_relaxed ? "60000" : "0", NULL};
    start_server(arguments, NULL);
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &connections[i];
        connection->descriptor = connect_to(port);
        if (!connection->unsent) connection->unsent = malloc(BUFFER_SIZE);
        if (!connection->unread) connection->unread = malloc(BUFFER_SIZE);
        if (!connection->unsent || !connection->unread) fail("no memory");
    }
}

static void stop_it(int signal) {
    for (int i = 0; i < CONNECTIONS; i++) close(connections[i].descriptor);
    stop_server(signal);
}

static void stop(bool is_killed) { stop_it(is_killed ? SIGKILL : SIGTERM); }

// How often it syncs is said when it starts.
static void relax(bool on) {
    is_relaxed = on;
    stop_it(SIGTERM);
    start_it();
}

static void send_request(struct call *call) {
    struct connection *connection = &connections[call->caller % CONNECTIONS];
    char *end = connection->unsent + connection->unsent_bytes;
    if (connection->unsent_bytes + settings.payload_bytes + 128 > BUFFER_SIZE) fail("too many requests wait");
    if (call->kind == CALL_ENQUEUE) {
        end += sprintf(end, "put %d 0 %d %zu\r\n", PRIORITY, SECONDS_TO_RUN, settings.payload_bytes);
        memcpy(end, payload_of(call, 0), settings.payload_bytes);
        end += settings.payload_bytes;
        memcpy(end, "\r\n", 2);
        end += 2;
    } else if (call->kind == CALL_LEASE) {
        end += sprintf(end, "reserve-with-timeout 5\r\n");
    } else {
        end += sprintf(end, "delete %llu\r\n", (unsigned long long)call->ids[0]);
    }
    connection->unsent_bytes = (size_t)(end - connection->unsent);
    connection->calls[connection->behind++ % QUEUE_SIZE] = call;
}

/// Takes a reply, if it is there as a whole; returns how many bytes it was.
static size_t take_reply(struct call *call, const char *text, size_t count) {
    const char *line_end = memmem(text, count, "\r\n", 2);
    if (!line_end) return 0;
    size_t used = (size_t)(line_end - text) + 2;
    unsigned long long id;
    size_t bytes;
    switch (call->kind) {
    case CALL_ENQUEUE:
        if (strncmp(text, "INSERTED ", 9) != 0) fail("beanstalkd answers a put: %.*s", (int)used, text);
        return used;
    case CALL_SETTLE:
        if (strncmp(text, "DELETED", 7) != 0) fail("beanstalkd answers a delete: %.*s", (int)used, text);
        return used;
    case CALL_LEASE:
        if (strncmp(text, "TIMED_OUT", 9) == 0) return used;
        if (sscanf(text, "RESERVED %llu %zu", &id, &bytes) != 2)
            fail("beanstalkd answers a reserve: %.*s", (int)used, text);
        if (count < used + bytes + 2) return 0;
        leased_job(call, id, text + used, bytes);
        return used + bytes + 2;
    }
    return 0;
}

static void push(struct connection *connection) {
    ssize_t sent = send(
        connection->descriptor, connection->unsent, connection->unsent_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) fail("beanstalkd: %s", strerror(errno));
    if (sent <= 0) return;
    connection->unsent_bytes -= (size_t)sent;
    memmove(connection->unsent, connection->unsent + sent, connection->unsent_bytes);
}

static int pull(struct connection *connection, struct call **done, int max) {
    ssize_t got = recv(connection->descriptor, connection->unread + connection->unread_bytes,
        BUFFER_SIZE - connection->unread_bytes, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) fail("beanstalkd went away");
    if (got > 0) connection->unread_bytes += (size_t)got;
    size_t at = 0;
    int count = 0;
    while (count < max && connection->first != connection->behind) {
        struct call *call = connection->calls[connection->first % QUEUE_SIZE];
        size_t used = take_reply(call, connection->unread + at, connection->unread_bytes - at);
        if (used == 0) break;
        at += used;
        connection->first++;
        done[count++] = call;
    }
    connection->unread_bytes -= at;
    memmove(connection->unread, connection->unread + at, connection->unread_bytes);
    return count;
}

static int take(struct call **done, int max) {
    for (int count = 0;;) {
        struct pollfd polls[CONNECTIONS];
        for (int i = 0; i < CONNECTIONS; i++) {
            struct connection *connection = &connections[i];
            if (connection->unsent_bytes > 0) push(connection);
            short events = (short)(POLLIN | (connection->unsent_bytes > 0 ? POLLOUT : 0));
            polls[i] = (struct pollfd){.fd = connection->descriptor, .events = events};
            // A reply that did not fit the last time.
            if (connection->unread_bytes > 0) count += pull(connection, done + count, max - count);
        }
        if (count > 0) return count;
        if (poll(polls, CONNECTIONS, -1) < 0 && errno != EINTR) fail("poll: %s", strerror(errno));
        for (int i = 0; i < CONNECTIONS && count < max; i++)
            if (polls[i].revents & (POLLIN | POLLHUP | POLLERR))
                count += pull(&connections[i], done + count, max - count);
        if (count > 0) return count;
    }
}

static long pending(void) {
    static const char *const keys[] = {"jobs-ready: ", "jobs-reserved: ", "jobs-delayed: ", "jobs-buried: "};
    char text[16384];
    size_t used = 0, bytes = 0;
    char *body = NULL;
    int descriptor = connect_to(port);
    if (write(descriptor, "stats\r\n", 7) != 7) fail("beanstalkd: %s", strerror(errno));
    while (!body || used < (size_t)(body - text) + bytes) {
        ssize_t got = read(descriptor, text + used, sizeof text - 1 - used);
        if (got <= 0) fail("beanstalkd gives no statistics");
        text[used += (size_t)got] = 0;
        if (!body && sscanf(text, "OK %zu", &bytes) == 1 && (body = strstr(text, "\r\n"))) body += 2;
    }
    close(descriptor);
    long sum = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char *found = strstr(text, keys[i]);
        if (!found) fail("beanstalkd does not count %s", keys[i]);
        sum += atol(found + strlen(keys[i]));
    }
    return sum;
}

static struct peer make(void) {
    return (struct peer){.name = "beanstalkd", .remark = "a lease is not logged", .is_durable = true, .start = start_it,
        .stop = stop, .relax = relax, .pending = pending, .send = send_request, .take = take};
}

int main(int argc, char **argv) { return run_peer(argc, argv, make); }
