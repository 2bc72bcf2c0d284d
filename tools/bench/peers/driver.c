// The workloads, for any peer. Callers go through enqueue, lease and settle; in the measured time each call is timed.
// At the end the store must hold what was enqueued and not settled, and after full cycles the jobs that came out must
// be those that went in: equal counts, equal sums of their scattered numbers, every byte compared.
#define _GNU_SOURCE
#include "peer.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct settings settings = {
    .payload_bytes = 256, .seconds = 2, .warm_up = 0.5, .callers = 64, .backlog = 1000000, .batch = 1, .mode = ""};

// ---------------------------------------------------------------------------------------------------------------------
// Latencies: 64 steps for each power of two, so that a step is at most 1.6 % wide.

enum { STEP_BITS = 6, STEPS = 1 << STEP_BITS, BUCKETS = 36 * STEPS };

struct latencies {
    uint32_t counts[BUCKETS];
};

static void note(struct latencies *latencies, uint64_t nanoseconds) {
    unsigned power = 63 - (unsigned)__builtin_clzll(nanoseconds | STEPS);
    uint64_t bucket = (uint64_t)(power - STEP_BITS) * STEPS + (nanoseconds >> (power - STEP_BITS));
    latencies->counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static double microseconds(const struct latencies *latencies, double share) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++) total += latencies->counts[i];
    for (int i = 0; i < BUCKETS; i++) {
        seen += latencies->counts[i];
        if (total == 0 || (double)seen < share * (double)total) continue;
        int power = i < 2 * STEPS ? 0 : i / STEPS - 1;
        return (double)((uint64_t)(i - power * STEPS) << power) / 1000 + (double)(1ull << power) / 2000;
    }
    return 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// Callers.

struct caller {
    struct call call;
    uint64_t call_start, cycle_start;
    long enqueued, settled, measured;
    uint64_t enqueued_sum, leased_sum;
    struct latencies calls[3], cycles;
};

static struct peer peer;
static bench_payloads *payloads;
static struct caller *callers[CALLERS_MAX];
static int caller_count;
static atomic_uint_fast64_t next_number;
static uint64_t measure_from, measure_to;
static bool is_cycle;

/// How long a caller asks for a job that must be there.
static const uint64_t patience = 10000000000u;

const uint8_t *payload_of(const struct call *call, int index) {
    return call->payloads + (size_t)index * settings.payload_bytes;
}

void leased_job(struct call *call, uint64_t id, const void *payload, size_t count) {
    uint64_t number = bench_payload_read(payloads, payload, count);
    if (number == UINT64_MAX) fail("a job of %zu bytes is not as it was enqueued", count);
    if (call->leased == call->count) fail("more jobs came than were asked for");
    call->ids[call->leased++] = id;
    callers[call->caller]->leased_sum += bench_payload_mix(number);
}

static void add_callers(int count) {
    for (; caller_count < count; caller_count++) {
        struct caller *caller = callers[caller_count] = calloc(1, sizeof *caller);
        if (!caller || !(caller->call.payloads = malloc(BATCH_MAX * settings.payload_bytes))) fail("no memory");
        caller->call.caller = caller_count;
    }
}

static void begin(struct caller *caller, enum call_kind kind) {
    struct call *call = &caller->call;
    call->kind = kind;
    if (kind == CALL_ENQUEUE) {
        call->count = settings.batch;
        uint64_t first = atomic_fetch_add(&next_number, (uint64_t)call->count);
        for (int i = 0; i < call->count; i++) {
            bench_payload_write(payloads, first + (uint64_t)i, call->payloads + (size_t)i * settings.payload_bytes);
            caller->enqueued_sum += bench_payload_mix(first + (uint64_t)i);
        }
    } else if (kind == CALL_LEASE) {
        call->count = settings.batch;
        call->leased = 0;
    } else {
        call->count = call->leased;
    }
    caller->call_start = monotonic_now();
    if (kind == CALL_ENQUEUE) caller->cycle_start = caller->call_start;
}

/// Notes that the call is done and begins the next; false when the time is up.
static bool step(struct caller *caller) {
    struct call *call = &caller->call;
    uint64_t now = monotonic_now();
    bool is_measured = now >= measure_from && now < measure_to, ends_cycle = false;
    enum call_kind next = CALL_ENQUEUE;
    if (is_measured) note(&caller->calls[call->kind], now - caller->call_start);
    switch (call->kind) {
    case CALL_ENQUEUE:
        caller->enqueued += call->count;
        if (is_cycle) next = CALL_LEASE;
        else ends_cycle = true;
        break;
    case CALL_LEASE:
        if (call->leased == 0 && now > measure_to + patience) fail("a job is lost: there is none to lease");
        next = call->leased == 0 ? CALL_LEASE : CALL_SETTLE;
        break;
    case CALL_SETTLE:
        caller->settled += call->count;
        ends_cycle = true;
    }
    if (ends_cycle && is_measured) {
        caller->measured += call->count;
        note(&caller->cycles, now - caller->cycle_start);
    }
    if (next == CALL_ENQUEUE && now >= measure_to) return false;
    begin(caller, next);
    return true;
}

/// One call of one caller, with nobody else about.
static void call_alone(struct caller *caller, enum call_kind kind) {
    begin(caller, kind);
    struct call *call = &caller->call, *done = NULL;
    if (peer.perform) {
        peer.perform(call);
    } else if (peer.perform_all) {
        peer.perform_all(&call, 1);
    } else {
        peer.send(call);
        if (peer.take(&done, 1) != 1 || done != call) fail("a reply came for another call");
    }
}

static void *run_caller(void *argument) {
    struct caller *caller = argument;
    begin(caller, CALL_ENQUEUE);
    do peer.perform(&caller->call);
    while (step(caller));
    return NULL;
}

static void *run_all_callers(void *argument) {
    (void)argument;
    struct call *calls[CALLERS_MAX];
    int active = caller_count;
    for (int i = 0; i < active; i++) {
        begin(callers[i], CALL_ENQUEUE);
        calls[i] = &callers[i]->call;
        if (peer.send) peer.send(calls[i]);
    }
    while (active > 0) {
        if (peer.perform_all) {
            peer.perform_all(calls, active);
            int left = 0;
            for (int i = 0; i < active; i++)
                if (step(callers[calls[i]->caller])) calls[left++] = calls[i];
            active = left;
        } else {
            int count = peer.take(calls, CALLERS_MAX);
            for (int i = 0; i < count; i++) {
                if (step(callers[calls[i]->caller])) peer.send(calls[i]);
                else active--;
            }
        }
    }
    return NULL;
}

// ---------------------------------------------------------------------------------------------------------------------
// Lines of JSON.

static void print_head(const char *workload) {
    printf("{\"peer\":\"%s\",\"workload\":\"%s\",\"payload\":%zu,\"durable\":%s", peer.name, workload,
        settings.payload_bytes, peer.is_durable ? "true" : "false");
}

static void print_rates(
    int conc, double jobs, double seconds, const struct latencies *latencies, struct figures from, struct figures to) {
    double processors = (double)sysconf(_SC_NPROCESSORS_ONLN);
    double others = (to.everyones_user - from.everyones_user - to.user + from.user) / seconds / processors * 100;
    printf(",\"conc\":%d,\"batch\":%d,\"jobs_per_s\":%.0f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,"
           "\"p999_us\":%.1f,\"cpu_us_per_job\":%.2f,\"other_cpu_pct\":%.0f",
        conc, settings.batch, jobs / seconds, microseconds(latencies, 0.5), microseconds(latencies, 0.9),
        microseconds(latencies, 0.99), microseconds(latencies, 0.999),
        (to.user + to.system - from.user - from.system) * 1e6 / (jobs > 0 ? jobs : 1), others > 0 ? others : 0);
}

static void print_tail(double resident, double disk, long jobs_on_disk, bool is_right) {
    printf(",\"rss_mb\":%.1f,\"disk_mb\":%.1f,\"disk_bytes_per_job\":", resident / 1048576, disk / 1e6);
    if (jobs_on_disk > 0) printf("%.0f", disk / (double)jobs_on_disk);
    else printf("null");
    printf(",\"load1\":%.2f,\"ok\":%s", load_average(), is_right ? "true" : "false");
    if (peer.remark) printf(",\"note\":\"%s\"", peer.remark);
    printf("}\n");
    fflush(stdout);
}

// ---------------------------------------------------------------------------------------------------------------------
// Workloads that run for a while: W1, W1b, W2, W3, W3b.

static void sleep_until(uint64_t moment) {
    struct timespec time = {(time_t)(moment / 1000000000u), (long)(moment % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {}
}

/// Leases and settles what is left; returns how many jobs that were.
static long drain(long left) {
    long count = 0;
    settings.batch = peer.has_batches ? BATCH_MAX : 1;
    while (count < left) {
        call_alone(callers[0], CALL_LEASE);
        if (callers[0]->call.leased == 0) break;
        call_alone(callers[0], CALL_SETTLE);
        count += callers[0]->call.count;
    }
    return count;
}

static bool run_timed(const char *workload) {
    double resident = resident_bytes();
    peer.start();
    add_callers(settings.callers);
    measure_from = monotonic_now() + (uint64_t)(settings.warm_up * 1e9);
    measure_to = measure_from + (uint64_t)(settings.seconds * 1e9);
    int thread_count = peer.perform ? caller_count : 1;
    pthread_t threads[CALLERS_MAX];
    for (int i = 0; i < thread_count; i++)
        if (pthread_create(&threads[i], NULL, peer.perform ? run_caller : run_all_callers, callers[i]) != 0)
            fail("no more threads");
    sleep_until(measure_from);
    struct figures from = figures_now();
    sleep_until(measure_to);
    struct figures to = figures_now();
    for (int i = 0; i < thread_count; i++) pthread_join(threads[i], NULL);

    long enqueued = 0, settled = 0, measured = 0;
    static struct latencies cycles;
    for (int i = 0; i < caller_count; i++) {
        enqueued += callers[i]->enqueued;
        settled += callers[i]->settled;
        measured += callers[i]->measured;
        for (int k = 0; k < BUCKETS; k++) cycles.counts[k] += callers[i]->cycles.counts[k];
    }
    resident = server ? resident_bytes() : resident_bytes() - resident;
    double disk = disk_bytes();
    long left = peer.pending();
    bool is_right = left == enqueued - settled;
    print_head(workload);
    print_rates(caller_count, (double)measured, settings.seconds, &cycles, from, to);
    if (is_cycle) {
        is_right = drain(left) == left && peer.pending() == 0 && is_right;
        uint64_t difference = 0;
        for (int i = 0; i < caller_count; i++) difference += callers[i]->enqueued_sum - callers[i]->leased_sum;
        is_right = is_right && difference == 0;
    }
    printf(",\"enqueued\":%ld,\"acked\":%ld", enqueued, settled);
    print_tail(resident, disk, left, is_right);
    peer.stop(false);
    remove_store();
    return is_right;
}

// ---------------------------------------------------------------------------------------------------------------------
// W4 and W5: a backlog, and a restart with it.

static void fill(long count) {
    int batch = settings.batch;
    peer.relax(true);
    struct call *calls[CALLERS_MAX];
    int free_count = caller_count;
    for (int i = 0; i < caller_count; i++) calls[i] = &callers[i]->call;
    for (long left = count; left > 0 || free_count < caller_count;) {
        if (left == 0 || free_count == 0) {
            free_count += peer.take(calls + free_count, caller_count - free_count);
            continue;
        }
        settings.batch = peer.has_batches ? (left < BATCH_MAX ? (int)left : BATCH_MAX) : 1;
        left -= settings.batch;
        struct caller *caller = callers[calls[--free_count]->caller];
        begin(caller, CALL_ENQUEUE);
        struct call *call = &caller->call;
        if (peer.send) {
            peer.send(call);
        } else {
            if (peer.perform) peer.perform(call);
            else peer.perform_all(&call, 1);
            free_count++;
        }
    }
    settings.batch = batch;
    peer.relax(false);
    int directory = open(settings.directory, O_RDONLY | O_DIRECTORY);
    if (directory >= 0 && syncfs(directory) == 0) close(directory);
}

/// Where W4 says for W5 how many jobs it left.
static char *count_path(void) {
    static char path[4096];
    snprintf(path, sizeof path, "%s.left", settings.directory);
    return path;
}

static bool run_backlog(void) {
    bool all_right = true;
    double resident = resident_bytes();
    peer.start();
    add_callers(peer.send ? 64 : 1);
    for (long size = 1000;; size = size == 1000 ? 100000 : size * 10) {
        if (size > settings.backlog) size = settings.backlog;
        fill(size - peer.pending());
        bool is_right = peer.pending() == size;
        static struct latencies pairs;
        memset(&pairs, 0, sizeof pairs);
        long count = 0, most = size / 2 < 5000 ? size / 2 : 5000;
        struct figures from = figures_now();
        uint64_t start = monotonic_now(), now = start;
        for (uint64_t end = start + (uint64_t)(settings.seconds * 1e9); count < most && now < end; count++) {
            uint64_t pair_start = monotonic_now();
            call_alone(callers[0], CALL_LEASE);
            if (callers[0]->call.leased != 1) fail("no job came, with %ld waiting", size - count);
            call_alone(callers[0], CALL_SETTLE);
            now = monotonic_now();
            note(&pairs, now - pair_start);
        }
        long left = peer.pending();
        is_right = is_right && left == size - count;
        print_head("W4");
        printf(",\"backlog\":%ld", size);
        print_rates(1, (double)count, (double)(now - start) / 1e9, &pairs, from, figures_now());
        print_tail(server ? resident_bytes() : resident_bytes() - resident, disk_bytes(), left, is_right);
        all_right = all_right && is_right;
        FILE *file = fopen(count_path(), "w");
        if (!file || fprintf(file, "%ld\n", left) < 0 || fclose(file) != 0) fail("%s can't be written", count_path());
        if (size == settings.backlog) break;
    }
    // As if the power had gone, as far as a process can do that.
    peer.stop(true);
    return all_right;
}

/// Starts this program anew, which starts the peer, leases a job and says so.
static bool run_restart(const char *program) {
    long left = -1;
    FILE *file = fopen(count_path(), "r");
    if (!file || fscanf(file, "%ld", &left) != 1) fail("run W4 before W5");
    fclose(file);
    remove(count_path());
    bool all_right = true;
    for (int round = 0; round < 2; round++) {
        char bytes[32];
        snprintf(bytes, sizeof bytes, "%zu", settings.payload_bytes);
        int ends[2], status = 0;
        if (pipe(ends) != 0) fail("pipe: %s", strerror(errno));
        uint64_t start = monotonic_now(), leased = 0;
        pid_t child = fork();
        if (child == 0) {
            dup2(ends[1], STDOUT_FILENO);
            close(ends[0]);
            close(ends[1]);
            execl(program, program, "-d", settings.directory, "-p", bytes, "-m", settings.mode, "first-lease", NULL);
            _exit(127);
        }
        close(ends[1]);
        FILE *said = fdopen(ends[0], "r");
        double resident = 0, disk = 0;
        long found = -1;
        bool is_right = said && fscanf(said, "%lu %lf %ld %lf", &leased, &resident, &found, &disk) == 4;
        if (said) fclose(said);
        is_right = waitpid(child, &status, 0) == child && status == 0 && is_right;
        is_right = is_right && (found == left || !peer.is_durable);
        print_head("W5");
        printf(",\"mode\":\"%s\",\"pending\":%ld,\"start_ms\":%.1f", round == 0 ? "crash" : "clean", found,
            (double)(leased - start) / 1e6);
        print_tail(resident, disk, found, is_right);
        all_right = all_right && is_right;
    }
    remove_store();
    return all_right;
}

static int lease_first(void) {
    double resident = resident_bytes();
    peer.start();
    add_callers(1);
    call_alone(callers[0], CALL_LEASE);
    if (callers[0]->call.leased != 1) fail("no job came after a restart");
    uint64_t now = monotonic_now();
    resident = server ? resident_bytes() : resident_bytes() - resident;
    printf("%lu %.0f %ld %.0f\n", now, resident, peer.pending(), disk_bytes());
    fflush(stdout);
    peer.stop(false);
    return 0;
}

// ---------------------------------------------------------------------------------------------------------------------

static void usage(const char *program) {
    fprintf(stderr,
        "usage: %s [-d directory] [-p payload] [-s seconds] [-u warm-up] [-c callers] [-n backlog] [-m mode] "
        "W1|W1b|W2|W3|W3b|W4|W5\n",
        program);
    exit(64);
}

int run_peer(int argc, char **argv, struct peer (*make)(void)) {
    settings.directory = "bench-store";
    for (int option; (option = getopt(argc, argv, "d:p:s:u:c:n:m:")) != -1;) {
        switch (option) {
        case 'd': settings.directory = optarg; break;
        case 'p': settings.payload_bytes = (size_t)atol(optarg); break;
        case 's': settings.seconds = atof(optarg); break;
        case 'u': settings.warm_up = atof(optarg); break;
        case 'c': settings.callers = atoi(optarg); break;
        case 'n': settings.backlog = atol(optarg); break;
        case 'm': settings.mode = optarg; break;
        default: usage(argv[0]);
        }
    }
    payloads = bench_payloads_make(settings.payload_bytes);
    if (!payloads || optind != argc - 1 || settings.callers < 1 || settings.callers > CALLERS_MAX) usage(argv[0]);
    const char *workload = argv[optind];
    signal(SIGPIPE, SIG_IGN);
    bool is_batched = strchr(workload, 'b') != NULL;
    if (is_batched) settings.batch = BATCH_MAX;
    peer = make();
    if (strcmp(workload, "first-lease") == 0) return lease_first();
    // Nothing to compare where a call moves one job at most.
    if (is_batched && !peer.has_batches) return 0;
    if (strncmp(workload, "W1", 2) == 0) settings.callers = 1;
    if (is_batched && settings.callers > 16) settings.callers = 16;
    int most = is_batched ? peer.batch_callers_max : peer.callers_max;
    if (most > 0 && settings.callers > most) settings.callers = most;
    is_cycle = strncmp(workload, "W3", 2) == 0;
    if (strcmp(workload, "W5") == 0) return run_restart("/proc/self/exe") ? 0 : 1;
    remove_store();
    if (mkdir(settings.directory, 0755) != 0) fail("%s: %s", settings.directory, strerror(errno));
    if (strcmp(workload, "W4") == 0) return run_backlog() ? 0 : 1;
    return run_timed(workload) ? 0 : 1;
}
