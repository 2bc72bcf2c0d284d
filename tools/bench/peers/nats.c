// NATS JetStream: a stream in files that keeps each message until it is acknowledged, and one consumer.
//   enqueue  publish, with the server's confirmation; lease  a pull for one message; settle  an ack that is confirmed
// Not equally durable: the server answers when the file is written, and syncs it every two minutes. Newer servers than
// Debian's can sync always. So its lines say "durable": false, and no ratio is made of them.
#include "peer.h"
#include <nats/nats.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QUEUE_SIZE = 2 * CALLERS_MAX, WAIT_MILLISECONDS = 60000, SETUP_STEPS = 5000, SUBJECT_SIZE = 128 };

static natsConnection *connection;
static natsSubscription *answers;
static jsCtx *stream;
/// Where answers go: this, a dot and the caller's number.
static char inbox[64];
/// The calls of callers, to find the one that an answer is for.
static struct call *calls[CALLERS_MAX];
/// Calls that wait for a message, in the order of their requests. A message does not say for whom it is.
static struct call *pulls[QUEUE_SIZE];
static unsigned pulls_first, pulls_behind;

static void check(natsStatus status, const char *doing) {
    if (status != NATS_OK) fail("nats, %s: %s", doing, natsStatus_GetText(status));
}

static void create_stream(void) {
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "JOBS";
    config.Subjects = (const char *[]){"jobs"};
    config.SubjectsLen = 1;
    config.Retention = js_WorkQueuePolicy;
    config.Storage = js_FileStorage;
    // Streams are there a moment after the port is.
    natsStatus status = NATS_ERR;
    for (int step = 0; step < SETUP_STEPS && status != NATS_OK; step++) {
        status = js_AddStream(NULL, stream, &config, NULL, NULL);
        if (status != NATS_OK) usleep(1000);
    }
    check(status, "creating the stream");
    jsConsumerConfig consumer;
    jsConsumerConfig_Init(&consumer);
    consumer.Durable = "workers";
    consumer.AckPolicy = js_AckExplicit;
    consumer.AckWait = 60ll * 1000000000;
    consumer.MaxAckPending = 100000;
    check(js_AddConsumer(NULL, stream, "JOBS", &consumer, NULL, NULL), "creating the consumer");
}

static void start(void) {
    char port_text[16], url[64], wildcard[SUBJECT_SIZE];
    int port = free_port();
    snprintf(port_text, sizeof port_text, "%d", port);
    snprintf(url, sizeof url, "nats://127.0.0.1:%d", port);
    char *arguments[] = {
        "nats-server", "-a", "127.0.0.1", "-p", port_text, "-js", "-sd", (char *)settings.directory, NULL};
    start_server(arguments, NULL);
    close(connect_to(port));
    natsOptions *options = NULL;
    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, url), "options");
    // A caller alone wants its request sent at once; many are sent together.
    check(natsOptions_SetSendAsap(options, settings.callers == 1), "options");
    check(natsConnection_Connect(&connection, options), "connecting");
    natsOptions_Destroy(options);
    jsOptions js_options;
    jsOptions_Init(&js_options);
    js_options.Wait = WAIT_MILLISECONDS;
    check(natsConnection_JetStream(&stream, connection, &js_options), "JetStream");
    create_stream();
    natsInbox *made = NULL;
    check(natsInbox_Create(&made), "inbox");
    snprintf(inbox, sizeof inbox, "%s", (const char *)made);
    natsInbox_Destroy(made);
    snprintf(wildcard, sizeof wildcard, "%s.*", inbox);
    check(natsConnection_SubscribeSync(&answers, connection, wildcard), "subscribing");
    check(natsSubscription_SetPendingLimits(answers, -1, -1), "subscribing");
}

static void send_request(struct call *call) {
    static const char pull[] = "{\"batch\":1,\"expires\":5000000000}";
    char answer_to[SUBJECT_SIZE];
    snprintf(answer_to, sizeof answer_to, "%s.%d", inbox, call->caller);
    calls[call->caller] = call;
    switch (call->kind) {
    case CALL_ENQUEUE:
        check(natsConnection_PublishRequest(
                  connection, "jobs", answer_to, payload_of(call, 0), (int)settings.payload_bytes), "publishing");
        break;
    case CALL_LEASE:
        check(natsConnection_PublishRequest(
                  connection, "$JS.API.CONSUMER.MSG.NEXT.JOBS.workers", answer_to, pull, sizeof pull - 1), "pulling");
        pulls[pulls_behind++ % QUEUE_SIZE] = call;
        break;
    case CALL_SETTLE:
        // The subject to acknowledge on came with the message.
        check(natsConnection_PublishRequest(connection, call->state, answer_to, "+ACK", 4), "acknowledging");
        free(call->state);
        call->state = NULL;
    }
}

/// Finds the call that a message answers, and gives it to that.
static struct call *answered(natsMsg *message) {
    const char *subject = natsMsg_GetSubject(message), *data = natsMsg_GetData(message);
    if (strcmp(subject, "jobs") == 0) {
        if (pulls_first == pulls_behind) fail("nats: a message came that nobody asked for");
        struct call *call = pulls[pulls_first++ % QUEUE_SIZE];
        leased_job(call, 0, data, (size_t)natsMsg_GetDataLength(message));
        call->state = strdup(natsMsg_GetReply(message));
        return call;
    }
    int caller = atoi(strrchr(subject, '.') + 1);
    struct call *call = caller >= 0 && caller < CALLERS_MAX ? calls[caller] : NULL;
    if (!call || call->kind == CALL_LEASE) fail("nats: a pull ended without a message");
    if (call->kind == CALL_ENQUEUE && (!data || strstr(data, "\"error\""))) fail("nats refuses: %s", data ? data : "");
    return call;
}

static int take(struct call **done, int max) {
    uint64_t queued = 0;
    check(natsSubscription_QueuedMsgs(answers, &queued), "waiting");
    // Nothing to do but to send what has been put together.
    if (queued == 0 && settings.callers > 1)
        check(natsConnection_FlushTimeout(connection, WAIT_MILLISECONDS), "sending");
    int count = 0;
    do {
        natsMsg *message = NULL;
        check(natsSubscription_NextMsg(&message, answers, WAIT_MILLISECONDS), "waiting for an answer");
        done[count++] = answered(message);
        natsMsg_Destroy(message);
        check(natsSubscription_QueuedMsgs(answers, &queued), "waiting");
    } while (queued > 0 && count < max);
    return count;
}

static void relax(bool on) { (void)on; }

static long pending(void) {
    jsStreamInfo *information = NULL;
    check(js_GetStreamInfo(&information, stream, "JOBS", NULL, NULL), "counting");
    long count = (long)information->State.Msgs;
    jsStreamInfo_Destroy(information);
    return count;
}

static void stop(bool is_killed) {
    natsConnection_Close(connection);
    stop_server(is_killed ? SIGKILL : SIGTERM);
}

static struct peer make(void) {
    return (struct peer){.name = "nats", .remark = "synced every two minutes", .start = start, .stop = stop,
        .relax = relax, .pending = pending, .send = send_request, .take = take};
}

int main(int argc, char **argv) { return run_peer(argc, argv, make); }
