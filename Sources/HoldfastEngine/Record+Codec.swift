// The bytes of a record's body; the log adds its length, sequence number and kind. This page is normative.
//
//     body = varint(time, ms) · varint(flags) · fields in the order given
//
// A field in [brackets] is there when its flag is set, and its flag is set when it differs from its default, so every
// record has one encoding. Flags not listed are set aside: a reader that meets one refuses the record. What differs
// least from record to record comes first and what is opaque comes last, without a length: compression needs the one,
// and the log knows the other.
//
//     name       varint(bytes) · UTF-8
//     instant    varint(zigzag(instant - time))
//     ref        varint(sequence - n): an earlier record's sequence number, as a job or a token
//     lane       name(queue) · [1: priority as u8, two's complement; default 0] · [2: varint(max attempts); default 5]
//                · [4: name(group); default ""] · [8192: varint(weight); default 1]
//     rest       all bytes left
//
//      1 enqueue        lane · [8: instant(run at)] · [16: name(unique key)] · [32: instant(unique until)]
//                       · [64: instant(start by)] · [256: job terms, see JobTerms.swift]
//                       · [16384: dependencies, see JobDependencies.swift]
//                       · [4096: labels, see JobLabels.swift]
//                       · [128: varint(pairs) · (name · counted bytes) ...] · rest(payload)
//                       flag 1024: a lease frees the key; with 16, not with 32; flag 2048: the payload is secret
//      2 lease          lane · [8: varint(attempt); default 1] · [16: name(worker); default ""] · instant(deadline)
//                       · ref(job)
//      3 heartbeat      instant(deadline) · ref(job) · ref(token) · [1: rest(progress)]
//      4 ack            [2: instant(result kept until); with 1] · ref(job) · ref(token) · [1: rest(result)]
//      5 requeue        [4: instant(run at)] · [16: name(error class)] · ref(job) · ref(token) · [1: rest(error)]
//                       flag 2: the attempt does not count; flag 8: the job is dead; not both 4 and 8
//      6 expire         no flag, or 4 (the job is dead):  ref(job) · ref(token)
//                       8 (time limit), with 4 or without: the same
//                       1 (not started in time):          ref(job)
//                       2 (window of a unique key):       name(queue) · name(key) · ref(job)
//                       16 (an effect's time):            name(scope) · name(key)
//                       32 (a dead letter too many or too old), 64 (a result's time): ref(job)
//                       128 (a dependency failed):        ref(job) · ref(dependency)
//      7 bury           u8(reason) · ref(job) · ref(token) · [1: rest(error)]
//      8 redrive        [1: instant(run at)] · ref(job)
//      9 cancel         lane · ref(job)
//     10 effect         name(scope) · name(key) · [1: ref(job) · ref(token)] · [2: name(tag); default ""]
//                       · [8: instant(until)] · rest(value); flag 4: the value tells how it failed
//     11 effectRemove   name(scope) · name(key)
//     16 queueSettings  name(queue) · [4: varint(capacity, 0: none)] · [8: varint(running at most, 0: none)]
//                       · [16: retry policy, see RetryPolicy.swift] · [32: varint(crashes at most, 0: none)]
//                       · [128: error classes, see JobTerms.swift] · [64: sharing settings, see SharingTerms.swift]
//                       · what is kept, see RetentionTerms.swift · [2048: varint(ageing, ms, 0: none)]
//                       flag 1: pausing is set, to flag 2
//     17 clock          nothing
//     18 cursorSet      name(cursor) · varint(sequence - next) · [1: varint(bytes); default 2^28]
//                       · [2: varint(age, ms); default 7 days]
//     19 cursorRemove   name(cursor)
//     20 edit           lane · [8: name(new queue)] · [16: new priority as u8] · [32: varint(new max attempts)]
//                       · [64: instant(run at)] · ref(job) · [128: varint(pairs) · (name · counted bytes) ...]
//                       · [512: rest(payload)]; the lane is the one before
//     23 release        ref(job)
//     29 storeSettings  [1: varint(jobs, 0: no limit)] · [2: varint(payload bytes, 0: no limit)]; at least one of them

package import HoldfastBytes

/// The flags before a body's fields, by kind of record.
enum RecordFlags {
    static let priority: UInt64 = 1
    static let maxAttempts: UInt64 = 2
    static let group: UInt64 = 4
    /// Of every record with a lane, and so above what any of them has beside it.
    static let weight: UInt64 = 8192
    static let lane = priority | maxAttempts | group | weight

    static let runAt: UInt64 = 8
    static let uniqueKey: UInt64 = 16
    static let uniqueUntil: UInt64 = 32
    static let startBy: UInt64 = 64
    static let headers: UInt64 = 128
    static let terms: UInt64 = 256
    static let keyFreedByLease: UInt64 = 1024
    static let secret: UInt64 = 2048
    static let labels: UInt64 = 4096
    static let dependencies: UInt64 = 16384
    static let enqueue =
        lane | runAt | uniqueKey | uniqueUntil | startBy | headers | terms | keyFreedByLease | secret | labels
        | dependencies

    static let attempt: UInt64 = 8
    static let worker: UInt64 = 16
    static let lease = lane | attempt | worker

    /// The text or the bytes at the end of a heartbeat, ack, requeue or bury.
    static let report: UInt64 = 1
    static let isUncounted: UInt64 = 2
    static let isScheduled: UInt64 = 4
    static let isDead: UInt64 = 8
    static let keptUntil: UInt64 = 2
    static let ack = report | keptUntil
    static let redriveRunAt: UInt64 = 1
    static let errorClass: UInt64 = 16
    static let requeue = report | isUncounted | isScheduled | isDead | errorClass

    static let expireStartBy: UInt64 = 1
    static let expireUniqueKey: UInt64 = 2
    static let expireDead: UInt64 = 4
    static let expireTimeLimit: UInt64 = 8
    static let expireEffect: UInt64 = 16
    static let expireDeadLetter: UInt64 = 32
    static let expireResult: UInt64 = 64
    static let expireDependency: UInt64 = 128
    static let expire =
        expireStartBy | expireUniqueKey | expireDead | expireTimeLimit | expireEffect | expireDeadLetter | expireResult
        | expireDependency

    static let fence: UInt64 = 1
    static let tag: UInt64 = 2
    static let isFailure: UInt64 = 4
    static let until: UInt64 = 8
    static let effect = fence | tag | isFailure | until

    static let pauseIsSet: UInt64 = 1
    static let pauseIsOn: UInt64 = 2
    static let capacity: UInt64 = 4
    static let runningMax: UInt64 = 8
    static let retry: UInt64 = 16
    static let crashMax: UInt64 = 32
    static let sharing: UInt64 = 64
    static let finalErrors: UInt64 = 128
    static let ageing: UInt64 = 2048
    static let queueSettings =
        pauseIsSet | pauseIsOn | capacity | runningMax | retry | crashMax | finalErrors | sharing | ageing
        | RetentionSettings.knownFlags

    static let cursorBytes: UInt64 = 1
    static let cursorAge: UInt64 = 2
    static let cursorSet = cursorBytes | cursorAge

    static let storeJobs: UInt64 = 1
    static let storeBytes: UInt64 = 2
    static let storeSettings = storeJobs | storeBytes

    static let newQueue: UInt64 = 8
    static let newPriority: UInt64 = 16
    static let newMaxAttempts: UInt64 = 32
    static let newRunAt: UInt64 = 64
    static let newHeaders: UInt64 = 128
    static let newPayload: UInt64 = 512
    static let edit = lane | newQueue | newPriority | newMaxAttempts | newRunAt | newHeaders | newPayload

    static let defaultMaxAttempts: UInt32 = 5
}

extension Mutation {
    /// The kind, as the log stores it.
    package var kind: RecordKind {
        switch self {
        case .enqueue: .enqueue
        case .lease: .lease
        case .heartbeat: .heartbeat
        case .ack: .ack
        case .requeue: .requeue
        case .expire: .expire
        case .bury: .bury
        case .redrive: .redrive
        case .cancel: .cancel
        case .edit: .edit
        case .effect: .effect
        case .effectRemove: .effectRemove
        case .queueSettings: .queueSettings
        case .clock: .clock
        case .cursorSet: .cursorSet
        case .cursorRemove: .cursorRemove
        case .release: .release
        case .storeSettings: .storeSettings
        }
    }
}

extension Mutation {
    /// The job that a record at `sequence` is about.
    package func job(_ sequence: SequenceNumber) -> JobID? {
        switch self {
        case .enqueue: JobID(sequence)
        case .lease(let grant): grant.job
        case .heartbeat(let heartbeat): heartbeat.job
        case .ack(let ack): ack.job
        case .requeue(let requeue): requeue.job
        case .expire(.lease(let job, _, _)), .expire(.timeLimit(let job, _, _)): job
        case .expire(.startBy(let job)), .expire(.deadLetter(let job)), .expire(.result(let job)),
            .expire(.dependency(let job, _)):
            job
        case .expire(.uniqueKey(_, _, let job)): job
        case .bury(let bury): bury.job
        case .redrive(let redrive): redrive.job
        case .cancel(let cancel): cancel.job
        case .edit(let edit): edit.job
        case .release(let release): release.job
        case .effect(let effect): effect.fence?.job
        case .expire(.effect), .effectRemove, .queueSettings, .clock, .cursorSet, .cursorRemove, .storeSettings: nil
        }
    }
}

extension Mutation {
    /// Whether it is about a cursor: consumers that go by cursors are not shown it.
    package var isAboutCursor: Bool { kind.isAboutCursor }
}

extension RecordKind {
    /// Whether its records are about cursors.
    package var isAboutCursor: Bool { self == .cursorSet || self == .cursorRemove }
}

extension Record {
    /// Appends what the log stores as the record's body.
    ///
    /// - Precondition: The record keeps `RecordLimits`, and refers to earlier records only.
    package func encodeBody(into writer: inout ByteWriter) {
        writer.append(varint: UInt64(bitPattern: time.milliseconds))
        // Most records are of these kinds. A switch over all kinds copies the record, one over few does not.
        switch mutation {
        case .enqueue(let enqueue): encode(enqueue, into: &writer)
        case .lease(let grant): grant.encode(at: context, into: &writer)
        case .ack(let ack): encode(ack, into: &writer)
        default: encodeRest(into: &writer)
        }
    }

    private func encodeRest(into writer: inout ByteWriter) {
        switch mutation {
        case .enqueue, .lease, .ack: preconditionFailure("encoded before")
        case .heartbeat(let heartbeat):
            writer.append(varint: heartbeat.progress == nil ? 0 : RecordFlags.report)
            append(heartbeat.deadline, to: &writer)
            append(heartbeat.job, heartbeat.token, to: &writer)
            if let progress = heartbeat.progress { writer.append(progress) }
        case .requeue(let requeue): encode(requeue, into: &writer)
        case .expire(let expire): encode(expire, into: &writer)
        case .bury(let bury):
            writer.append(varint: bury.error == nil ? 0 : RecordFlags.report)
            writer.append(bury.reason.rawValue)
            append(bury.job, bury.token, to: &writer)
            if let error = bury.error { writer.append(utf8: error) }
        case .redrive(let redrive):
            writer.append(varint: redrive.runAt == nil ? 0 : RecordFlags.redriveRunAt)
            if let runAt = redrive.runAt { append(runAt, to: &writer) }
            append(redrive.job, to: &writer)
        case .cancel(let cancel):
            writer.append(varint: cancel.lane.recordFlags)
            cancel.lane.encode(into: &writer)
            append(cancel.job, to: &writer)
        case .edit(let edit): encode(edit, into: &writer)
        case .effect(let effect): encode(effect, into: &writer)
        case .effectRemove(let remove):
            writer.append(varint: 0)
            writer.append(counted: remove.scope)
            writer.append(counted: remove.key)
        case .queueSettings(let settings): encode(settings, into: &writer)
        case .clock: writer.append(varint: 0)
        case .cursorSet(let set): encode(set, into: &writer)
        case .cursorRemove(let remove):
            writer.append(varint: 0)
            writer.append(counted: remove.name)
        case .release(let release):
            writer.append(varint: 0)
            append(release.job, to: &writer)
        case .storeSettings(let settings): encode(settings, into: &writer)
        }
    }

    // MARK: - Private

    private func encode(_ enqueue: Enqueue, into writer: inout ByteWriter) {
        let rest = enqueue.extras?.content
        var flags = enqueue.lane.recordFlags
        if enqueue.runAt != nil { flags |= RecordFlags.runAt }
        if !enqueue.headers.isEmpty { flags |= RecordFlags.headers }
        if let rest { flags |= Self.flags(of: rest) }
        writer.append(varint: flags)
        enqueue.lane.encode(into: &writer)
        if let runAt = enqueue.runAt { append(runAt, to: &writer) }
        if let rest { encode(rest, into: &writer) }
        if !enqueue.headers.isEmpty { encode(enqueue.headers, into: &writer) }
        writer.append(enqueue.payload)
    }

    private static func flags(of rest: Enqueue.Extras.Content) -> UInt64 {
        var flags: UInt64 = 0
        if rest.uniqueKey != nil { flags |= RecordFlags.uniqueKey }
        if rest.uniqueUntil != nil { flags |= RecordFlags.uniqueUntil }
        if rest.startBy != nil { flags |= RecordFlags.startBy }
        if rest.terms != nil { flags |= RecordFlags.terms }
        if rest.isKeyFreedByLease { flags |= RecordFlags.keyFreedByLease }
        if rest.dependencies != nil { flags |= RecordFlags.dependencies }
        if rest.isSecret { flags |= RecordFlags.secret }
        if !rest.labels.isEmpty { flags |= RecordFlags.labels }
        assert(rest.uniqueUntil == nil || rest.uniqueKey != nil, "a window needs a key")
        return flags
    }

    private func encode(_ rest: Enqueue.Extras.Content, into writer: inout ByteWriter) {
        if let key = rest.uniqueKey { writer.append(counted: key) }
        if let until = rest.uniqueUntil { append(until, to: &writer) }
        if let startBy = rest.startBy { append(startBy, to: &writer) }
        rest.terms?.encode(into: &writer)
        rest.dependencies?.encode(into: &writer, from: sequence)
        if !rest.labels.isEmpty { rest.labels.encode(into: &writer) }
    }

    private func encode(_ headers: [Enqueue.Header], into writer: inout ByteWriter) {
        writer.append(varint: UInt64(headers.count))
        for header in headers {
            writer.append(counted: header.name)
            writer.append(counted: header.value)
        }
    }

    private func encode(_ edit: Edit, into writer: inout ByteWriter) {
        let (from, to) = (edit.from, edit.to)
        let changesQueue = !from.queue.isSameName(as: to.queue)
        var flags = from.recordFlags
        if changesQueue { flags |= RecordFlags.newQueue }
        if to.priority != from.priority { flags |= RecordFlags.newPriority }
        if to.maxAttempts != from.maxAttempts { flags |= RecordFlags.newMaxAttempts }
        if edit.runAt != nil { flags |= RecordFlags.newRunAt }
        if edit.headers != nil { flags |= RecordFlags.newHeaders }
        if edit.payload != nil { flags |= RecordFlags.newPayload }
        assert(from.group.isSameName(as: to.group), "a job stays in its group")
        writer.append(varint: flags)
        from.encode(into: &writer)
        if changesQueue { writer.append(counted: to.queue) }
        if to.priority != from.priority { writer.append(UInt8(bitPattern: to.priority)) }
        if to.maxAttempts != from.maxAttempts { writer.append(varint: UInt64(to.maxAttempts)) }
        if let runAt = edit.runAt { append(runAt, to: &writer) }
        append(edit.job, to: &writer)
        if let headers = edit.headers { encode(headers, into: &writer) }
        if let payload = edit.payload { writer.append(payload) }
    }

    private func encode(_ ack: Ack, into writer: inout ByteWriter) {
        let kept = ack.until == nil ? 0 : RecordFlags.keptUntil
        writer.append(varint: ack.result == nil ? kept : RecordFlags.report | kept)
        if let until = ack.until { append(until, to: &writer) }
        append(ack.job, ack.token, to: &writer)
        if let result = ack.result { writer.append(result) }
    }

    private func encode(_ requeue: Requeue, into writer: inout ByteWriter) {
        var flags: UInt64 = requeue.error == nil ? 0 : RecordFlags.report
        if !requeue.countsAttempt { flags |= RecordFlags.isUncounted }
        if requeue.errorClass != nil { flags |= RecordFlags.errorClass }
        switch requeue.outcome {
        case .ready: break
        case .scheduled: flags |= RecordFlags.isScheduled
        case .dead: flags |= RecordFlags.isDead
        }
        writer.append(varint: flags)
        if case .scheduled(let runAt) = requeue.outcome { append(runAt, to: &writer) }
        if let errorClass = requeue.errorClass { writer.append(counted: errorClass) }
        append(requeue.job, requeue.token, to: &writer)
        if let error = requeue.error { writer.append(utf8: error) }
    }

    private func encode(_ expire: Expire, into writer: inout ByteWriter) {
        switch expire {
        case .lease(let job, let token, let isDead):
            writer.append(varint: isDead ? RecordFlags.expireDead : 0)
            append(job, token, to: &writer)
        case .timeLimit(let job, let token, let isDead):
            writer.append(varint: RecordFlags.expireTimeLimit | (isDead ? RecordFlags.expireDead : 0))
            append(job, token, to: &writer)
        case .startBy(let job):
            writer.append(varint: RecordFlags.expireStartBy)
            append(job, to: &writer)
        case .uniqueKey(let queue, let key, let job):
            writer.append(varint: RecordFlags.expireUniqueKey)
            writer.append(counted: queue)
            writer.append(counted: key)
            append(job, to: &writer)
        case .effect(let scope, let key):
            writer.append(varint: RecordFlags.expireEffect)
            writer.append(counted: scope)
            writer.append(counted: key)
        case .deadLetter(let job):
            writer.append(varint: RecordFlags.expireDeadLetter)
            append(job, to: &writer)
        case .result(let job):
            writer.append(varint: RecordFlags.expireResult)
            append(job, to: &writer)
        case .dependency(let job, let failed):
            writer.append(varint: RecordFlags.expireDependency)
            append(job, to: &writer)
            append(failed, to: &writer)
        }
    }

    private func encode(_ effect: Effect, into writer: inout ByteWriter) {
        var flags: UInt64 = effect.fence == nil ? 0 : RecordFlags.fence
        if !effect.tag.isEmpty { flags |= RecordFlags.tag }
        if effect.isFailure { flags |= RecordFlags.isFailure }
        if effect.until != nil { flags |= RecordFlags.until }
        writer.append(varint: flags)
        writer.append(counted: effect.scope)
        writer.append(counted: effect.key)
        if let fence = effect.fence { append(fence.job, fence.token, to: &writer) }
        if !effect.tag.isEmpty { writer.append(counted: effect.tag) }
        if let until = effect.until { append(until, to: &writer) }
        writer.append(effect.value)
    }

    private func encode(_ settings: QueueSettings, into writer: inout ByteWriter) {
        var flags: UInt64 = 0
        if let isPaused = settings.isPaused {
            flags |= RecordFlags.pauseIsSet | (isPaused ? RecordFlags.pauseIsOn : 0)
        }
        if settings.capacity != nil { flags |= RecordFlags.capacity }
        if settings.runningMax != nil { flags |= RecordFlags.runningMax }
        if settings.retry != nil { flags |= RecordFlags.retry }
        if settings.crashMax != nil { flags |= RecordFlags.crashMax }
        if settings.finalErrors != nil { flags |= RecordFlags.finalErrors }
        if !settings.sharing.isEmpty { flags |= RecordFlags.sharing }
        flags |= settings.retention.flags
        if settings.ageing != nil { flags |= RecordFlags.ageing }
        writer.append(varint: flags)
        writer.append(counted: settings.queue)
        if let capacity = settings.capacity { writer.append(varint: UInt64(capacity)) }
        if let runningMax = settings.runningMax { writer.append(varint: UInt64(runningMax)) }
        settings.retry?.encode(into: &writer)
        if let crashMax = settings.crashMax { writer.append(varint: UInt64(crashMax)) }
        settings.finalErrors?.encode(into: &writer)
        if !settings.sharing.isEmpty { settings.sharing.encode(into: &writer) }
        settings.retention.encode(into: &writer)
        if let ageing = settings.ageing { writer.append(varint: UInt64(ageing)) }
    }

    private func encode(_ set: CursorSet, into writer: inout ByteWriter) {
        let (caps, standard) = (set.cursor.caps, CursorCaps.standard)
        var flags: UInt64 = 0
        if caps.bytes != standard.bytes { flags |= RecordFlags.cursorBytes }
        if caps.age != standard.age { flags |= RecordFlags.cursorAge }
        writer.append(varint: flags)
        writer.append(counted: set.name)
        append(reference: set.cursor.next.rawValue, to: &writer)
        if caps.bytes != standard.bytes { writer.append(varint: caps.bytes) }
        if caps.age != standard.age { writer.append(varint: caps.age) }
    }

    private func encode(_ settings: StoreSettings, into writer: inout ByteWriter) {
        assert(settings != StoreSettings(), "settings say something")
        writer.append(
            varint: (settings.jobs == nil ? 0 : RecordFlags.storeJobs)
                | (settings.payloadBytes == nil ? 0 : RecordFlags.storeBytes))
        if let jobs = settings.jobs { writer.append(varint: UInt64(jobs)) }
        if let bytes = settings.payloadBytes { writer.append(varint: UInt64(bytes)) }
    }

    private var context: Context { Context(sequence: sequence, time: time) }

    private func append(_ instant: Timestamp, to writer: inout ByteWriter) { context.append(instant, to: &writer) }

    private func append(_ job: JobID, to writer: inout ByteWriter) { append(reference: job.rawValue, to: &writer) }

    private func append(_ job: JobID, _ token: LeaseToken, to writer: inout ByteWriter) {
        context.append(job, token, to: &writer)
    }

    private func append(reference: UInt64, to writer: inout ByteWriter) {
        context.append(reference: reference, to: &writer)
    }
}

extension Record.Context {
    func append(_ instant: Timestamp, to writer: inout ByteWriter) {
        let delta = instant.milliseconds &- time.milliseconds
        writer.append(varint: UInt64(bitPattern: (delta << 1) ^ (delta >> 63)))
    }

    func append(_ job: JobID, _ token: LeaseToken, to writer: inout ByteWriter) {
        append(reference: job.rawValue, to: &writer)
        append(reference: token.rawValue, to: &writer)
    }

    func append(reference: UInt64, to writer: inout ByteWriter) {
        writer.append(varint: sequence.rawValue &- reference)
    }
}

extension LeaseGrant {
    /// Appends what a record's body has behind its time.
    func encode(at place: Record.Context, into writer: inout ByteWriter) {
        var flags = lane.recordFlags
        if attempt != 1 { flags |= RecordFlags.attempt }
        if !worker.isEmpty { flags |= RecordFlags.worker }
        writer.append(varint: flags)
        lane.encode(into: &writer)
        if attempt != 1 { writer.append(varint: UInt64(attempt)) }
        if !worker.isEmpty { writer.append(counted: worker) }
        place.append(deadline, to: &writer)
        place.append(reference: job.rawValue, to: &writer)
    }
}

extension Lane {
    /// The flags of a record's body that say what of a lane is in it.
    var recordFlags: UInt64 {
        var flags: UInt64 = 0
        if priority != 0 { flags |= RecordFlags.priority }
        if maxAttempts != RecordFlags.defaultMaxAttempts { flags |= RecordFlags.maxAttempts }
        if !group.isEmpty { flags |= RecordFlags.group }
        if weight != 1 { flags |= RecordFlags.weight }
        return flags
    }

    /// Appends what `recordFlags` announces.
    func encode(into writer: inout ByteWriter) {
        writer.append(counted: queue)
        if priority != 0 { writer.append(UInt8(bitPattern: priority)) }
        if maxAttempts != RecordFlags.defaultMaxAttempts { writer.append(varint: UInt64(maxAttempts)) }
        if !group.isEmpty { writer.append(counted: group) }
        if weight != 1 { writer.append(varint: UInt64(weight)) }
    }
}
