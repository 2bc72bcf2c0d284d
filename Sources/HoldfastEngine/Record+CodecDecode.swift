// Reading a record's body: the inverse of Record+Codec.swift, which says what the bytes are. Bytes may come from a
// damaged file or a peer: whatever they are, they give a record or an error, and nothing is allocated for a length
// that the bytes do not bear out.

package import HoldfastBytes

extension Record {
    /// Reads what `encodeBody` wrote; `nil` when the kind is not known and may be skipped.
    ///
    /// - Throws: `.unsupportedFormat` for a kind or a flag of a later version, `.corrupt` for anything else that
    ///   `encodeBody` would not have written for a record within `RecordLimits`.
    package init?(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) throws(EngineError) {
        guard let known = RecordKind(rawValue: kind) else {
            if kind & 0x80 != 0 || Safeguard.recordKind.isOff { return nil }
            throw EngineError(
                .unsupportedFormat,
                "record \(sequence) is of kind \(kind), which this version does not know; "
                    + "open the store with a newer one"
            )
        }
        var reader = ByteReader(body)
        do throws(ByteReaderError) {
            let time = try reader.timestamp()
            let context = Context(sequence: sequence, time: time)
            let mutation = try Mutation(known, from: &reader, in: context)
            guard reader.isAtEnd || Safeguard.recordEnd.isOff else {
                throw ByteReaderError(.notCanonical, at: reader.offset)
            }
            self.init(sequence: sequence, time: time, mutation: mutation)
        } catch {
            if error.reason == .unsupported {
                throw EngineError(
                    .unsupportedFormat, "record \(sequence) (\(known)): \(error); open the store with a newer version")
            }
            throw EngineError(.corrupt, "record \(sequence) (\(known)) can't be read: \(error)")
        }
    }

    /// What the fields of a body are measured from.
    struct Context {
        let sequence: SequenceNumber
        let time: Timestamp
    }
}

extension Record {
    /// Reads which job a record is about; `nil` for none, or when that can't be read. Of the kinds that most records
    /// are of it reads no more than that.
    package static func job(sequence: SequenceNumber, kind: UInt8, body: Span<UInt8>) -> JobID? {
        var reader = ByteReader(body)
        do {
            switch RecordKind(rawValue: kind) {
            case .enqueue: return JobID(sequence)
            case .lease:
                let context = Context(sequence: sequence, time: try reader.timestamp())
                try reader.skipFieldsOfLease()
                return try reader.job(in: context)
            case .heartbeat:
                let context = Context(sequence: sequence, time: try reader.timestamp())
                _ = try reader.flags(known: RecordFlags.report)
                _ = try reader.instant(in: context)
                return try reader.job(in: context)
            case .ack:
                let context = Context(sequence: sequence, time: try reader.timestamp())
                let flags = try reader.flags(known: RecordFlags.ack)
                if flags & RecordFlags.keptUntil != 0 { _ = try reader.instant(in: context) }
                return try reader.job(in: context)
            default: return try Record(sequence: sequence, kind: kind, body: body)?.mutation.job(sequence)
            }
        } catch { return nil }
    }
}

extension PlainJobs {
    /// Finds the payload in the body of an enqueue record, and when that was written, without reading the rest; `nil`
    /// when more is said of the job than its lane, or that can't be read.
    package static func payload(in body: Span<UInt8>) -> (range: Range<Int>, time: Timestamp)? {
        var reader = ByteReader(body)
        do {
            let time = try reader.timestamp()
            guard try reader.skipFieldsOfPlainJob() else { return nil }
            return (reader.offset..<body.count, time)
        } catch { return nil }
    }
}

extension Mutation {
    fileprivate init(
        _ kind: RecordKind, from reader: inout ByteReader, in context: Record.Context
    ) throws(ByteReaderError) {
        switch kind {
        case .enqueue: self = .enqueue(try Enqueue(from: &reader, in: context))
        case .lease: self = .lease(try LeaseGrant(from: &reader, in: context))
        case .heartbeat:
            let flags = try reader.flags(known: RecordFlags.report)
            let deadline = try reader.instant(in: context)
            let (job, token) = (try reader.job(in: context), try reader.token(in: context))
            let progress = flags == 0 ? nil : try reader.rest(atMost: RecordLimits.valueBytesMax)
            self = .heartbeat(Heartbeat(job: job, token: token, deadline: deadline, progress: progress))
        case .ack:
            let start = reader.offset
            let flags = try reader.flags(known: RecordFlags.ack)
            guard flags != RecordFlags.keptUntil else { throw ByteReaderError(.notCanonical, at: start) }
            let until = flags & RecordFlags.keptUntil == 0 ? nil : try reader.instant(in: context)
            let (job, token) = (try reader.job(in: context), try reader.token(in: context))
            let result = flags == 0 ? nil : try reader.rest(atMost: RecordLimits.valueBytesMax)
            self = .ack(Ack(job: job, token: token, result: result, until: until))
        case .requeue: self = .requeue(try Requeue(from: &reader, in: context))
        case .expire: self = .expire(try Expire(from: &reader, in: context))
        case .bury: self = .bury(try Bury(from: &reader, in: context))
        case .redrive:
            let flags = try reader.flags(known: RecordFlags.redriveRunAt)
            let runAt = flags == 0 ? nil : try reader.instant(in: context)
            self = .redrive(Redrive(job: try reader.job(in: context), runAt: runAt))
        case .cancel:
            let flags = try reader.flags(known: RecordFlags.lane)
            let lane = try Lane(flags: flags, from: &reader)
            self = .cancel(Cancel(job: try reader.job(in: context), lane: lane))
        case .edit: self = .edit(try Edit(from: &reader, in: context))
        case .effect: self = .effect(try Effect(from: &reader, in: context))
        case .effectRemove:
            _ = try reader.flags(known: 0)
            self = .effectRemove(EffectRemove(scope: try reader.name(), key: try reader.name()))
        case .queueSettings: self = .queueSettings(try QueueSettings(from: &reader))
        case .clock:
            _ = try reader.flags(known: 0)
            self = .clock(ClockAdvance())
        case .cursorSet: self = .cursorSet(try CursorSet(from: &reader, in: context))
        case .cursorRemove:
            _ = try reader.flags(known: 0)
            self = .cursorRemove(CursorRemove(name: try reader.name()))
        case .release:
            _ = try reader.flags(known: 0)
            self = .release(Release(job: try reader.job(in: context)))
        case .storeSettings: self = .storeSettings(try StoreSettings(from: &reader))
        }
    }
}

// MARK: - One kind each

extension Lane {
    fileprivate init(flags: UInt64, from reader: inout ByteReader) throws(ByteReaderError) {
        self.init(queue: try reader.name())
        let start = reader.offset
        if flags & RecordFlags.priority != 0 {
            priority = Int8(bitPattern: try reader.u8())
            guard priority != 0 else { throw ByteReaderError(.notCanonical, at: start) }
        }
        if flags & RecordFlags.maxAttempts != 0 {
            maxAttempts = UInt32(try reader.varint(atMost: UInt64(RecordLimits.maxAttemptsMax)))
            guard maxAttempts != RecordFlags.defaultMaxAttempts else { throw ByteReaderError(.notCanonical, at: start) }
        }
        if flags & RecordFlags.group != 0 {
            group = try reader.name()
            guard !group.isEmpty else { throw ByteReaderError(.notCanonical, at: start) }
        }
        if flags & RecordFlags.weight != 0 {
            weight = UInt32(try reader.varint(atMost: UInt64(RecordLimits.weightMax)))
            guard weight > 1, !group.isEmpty else { throw ByteReaderError(.notCanonical, at: start) }
        }
    }
}

extension Enqueue {
    fileprivate init(from reader: inout ByteReader, in context: Record.Context) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.flags(known: RecordFlags.enqueue)
        let key = flags & (RecordFlags.uniqueKey | RecordFlags.uniqueUntil | RecordFlags.keyFreedByLease)
        // A key is held until a time, or at most until a lease, or for the job's life.
        guard key == 0 || key & RecordFlags.uniqueKey != 0 && key.nonzeroBitCount <= 2 else {
            throw ByteReaderError(.notCanonical, at: start)
        }
        let lane = try Lane(flags: flags, from: &reader)
        if flags & ~RecordFlags.lane == 0 {
            // Whole at once: one that is filled in is copied.
            self.init(lane: lane, payload: try reader.rest(atMost: RecordLimits.payloadBytesMax))
            return
        }
        self.init(lane: lane)
        if flags & RecordFlags.keyFreedByLease != 0 { isKeyFreedByLease = true }
        if flags & RecordFlags.runAt != 0 { runAt = try reader.instant(in: context) }
        if flags & RecordFlags.uniqueKey != 0 { uniqueKey = try reader.name() }
        if flags & RecordFlags.uniqueUntil != 0 { uniqueUntil = try reader.instant(in: context) }
        if flags & RecordFlags.startBy != 0 { startBy = try reader.instant(in: context) }
        if flags & RecordFlags.terms != 0 { terms = try JobTerms(from: &reader) }
        if flags & RecordFlags.dependencies != 0 {
            dependencies = try EnqueueDependencies(from: &reader, at: context.sequence)
        }
        if flags & RecordFlags.labels != 0 { labels = try JobLabels(from: &reader) }
        if flags & RecordFlags.secret != 0 { isSecret = true }
        if flags & RecordFlags.headers != 0 {
            headers = try reader.headers()
            guard !headers.isEmpty else { throw ByteReaderError(.notCanonical, at: start) }
        }
        payload = try reader.rest(atMost: RecordLimits.payloadBytesMax)
    }
}

extension Edit {
    fileprivate init(from reader: inout ByteReader, in context: Record.Context) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.flags(known: RecordFlags.edit)
        let from = try Lane(flags: flags, from: &reader)
        var to = from
        if flags & RecordFlags.newQueue != 0 { to.queue = try reader.name() }
        if flags & RecordFlags.newPriority != 0 { to.priority = Int8(bitPattern: try reader.u8()) }
        if flags & RecordFlags.newMaxAttempts != 0 {
            to.maxAttempts = UInt32(try reader.varint(atMost: UInt64(RecordLimits.maxAttemptsMax)))
        }
        guard flags & RecordFlags.newQueue == 0 || !to.queue.isSameName(as: from.queue),
            flags & RecordFlags.newPriority == 0 || to.priority != from.priority,
            flags & RecordFlags.newMaxAttempts == 0 || to.maxAttempts != from.maxAttempts
        else { throw ByteReaderError(.notCanonical, at: start) }
        var runAt: Timestamp?
        if flags & RecordFlags.newRunAt != 0 { runAt = try reader.instant(in: context) }
        self.init(job: try reader.job(in: context), from: from, to: to, runAt: runAt)
        if flags & RecordFlags.newHeaders != 0 { headers = try reader.headers() }
        if flags & RecordFlags.newPayload != 0 { payload = try reader.rest(atMost: RecordLimits.payloadBytesMax) }
    }
}

extension LeaseGrant {
    fileprivate init(from reader: inout ByteReader, in context: Record.Context) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.flags(known: RecordFlags.lease)
        let lane = try Lane(flags: flags, from: &reader)
        var (attempt, worker) = (UInt32(1), "")
        if flags & RecordFlags.attempt != 0 {
            attempt = UInt32(try reader.varint(atMost: UInt64(UInt32.max)))
            guard attempt != 1 else { throw ByteReaderError(.notCanonical, at: start) }
        }
        if flags & RecordFlags.worker != 0 {
            worker = try reader.name()
            guard !worker.isEmpty else { throw ByteReaderError(.notCanonical, at: start) }
        }
        let deadline = try reader.instant(in: context)
        let job = try reader.job(in: context)
        self.init(job: job, lane: lane, attempt: attempt, deadline: deadline, worker: worker)
    }
}

extension Requeue {
    fileprivate init(from reader: inout ByteReader, in context: Record.Context) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.flags(known: RecordFlags.requeue)
        var outcome = flags & RecordFlags.isDead == 0 ? Outcome.ready : .dead
        if flags & RecordFlags.isScheduled != 0 {
            guard outcome == .ready else { throw ByteReaderError(.notCanonical, at: start) }
            outcome = .scheduled(runAt: try reader.instant(in: context))
        }
        let errorClass = flags & RecordFlags.errorClass == 0 ? nil : try reader.name()
        let (job, token) = (try reader.job(in: context), try reader.token(in: context))
        let error = flags & RecordFlags.report == 0 ? nil : try reader.restString(atMost: RecordLimits.valueBytesMax)
        self.init(
            job: job, token: token, outcome: outcome, countsAttempt: flags & RecordFlags.isUncounted == 0,
            error: error, errorClass: errorClass)
    }
}

extension Expire {
    fileprivate init(from reader: inout ByteReader, in context: Record.Context) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.flags(known: RecordFlags.expire)
        switch flags {
        case 0, RecordFlags.expireDead:
            let (job, token) = (try reader.job(in: context), try reader.token(in: context))
            self = .lease(job: job, token: token, isDead: flags != 0)
        case RecordFlags.expireTimeLimit, RecordFlags.expireTimeLimit | RecordFlags.expireDead:
            let (job, token) = (try reader.job(in: context), try reader.token(in: context))
            self = .timeLimit(job: job, token: token, isDead: flags & RecordFlags.expireDead != 0)
        case RecordFlags.expireStartBy: self = .startBy(job: try reader.job(in: context))
        case RecordFlags.expireUniqueKey:
            let (queue, key) = (try reader.name(), try reader.name())
            self = .uniqueKey(queue: queue, key: key, job: try reader.job(in: context))
        case RecordFlags.expireEffect: self = .effect(scope: try reader.name(), key: try reader.name())
        case RecordFlags.expireDeadLetter: self = .deadLetter(job: try reader.job(in: context))
        case RecordFlags.expireResult: self = .result(job: try reader.job(in: context))
        case RecordFlags.expireDependency:
            self = .dependency(job: try reader.job(in: context), failed: try reader.job(in: context))
        default: throw ByteReaderError(.notCanonical, at: start)
        }
    }
}

extension Bury {
    fileprivate init(from reader: inout ByteReader, in context: Record.Context) throws(ByteReaderError) {
        let flags = try reader.flags(known: RecordFlags.report)
        let start = reader.offset
        guard let reason = Reason(rawValue: try reader.u8()) else { throw ByteReaderError(.unsupported, at: start) }
        let (job, token) = (try reader.job(in: context), try reader.token(in: context))
        let error = flags == 0 ? nil : try reader.restString(atMost: RecordLimits.valueBytesMax)
        self.init(job: job, token: token, reason: reason, error: error)
    }
}

extension Effect {
    fileprivate init(from reader: inout ByteReader, in context: Record.Context) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.flags(known: RecordFlags.effect)
        self.init(scope: try reader.name(), key: try reader.name(), value: [])
        if flags & RecordFlags.fence != 0 {
            fence = Fence(job: try reader.job(in: context), token: try reader.token(in: context))
        }
        if flags & RecordFlags.tag != 0 {
            tag = try reader.name()
            guard !tag.isEmpty else { throw ByteReaderError(.notCanonical, at: start) }
        }
        isFailure = flags & RecordFlags.isFailure != 0
        if flags & RecordFlags.until != 0 { until = try reader.instant(in: context) }
        value = try reader.rest(atMost: RecordLimits.valueBytesMax)
    }
}

extension QueueSettings {
    fileprivate init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.flags(known: RecordFlags.queueSettings)
        guard flags & (RecordFlags.pauseIsSet | RecordFlags.pauseIsOn) != RecordFlags.pauseIsOn else {
            throw ByteReaderError(.notCanonical, at: start)
        }
        self.init(queue: try reader.name())
        if flags & RecordFlags.pauseIsSet != 0 { isPaused = flags & RecordFlags.pauseIsOn != 0 }
        if flags & RecordFlags.capacity != 0 { capacity = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax))) }
        if flags & RecordFlags.runningMax != 0 {
            runningMax = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax)))
        }
        if flags & RecordFlags.retry != 0 { retry = try RetryPolicy(from: &reader) }
        if flags & RecordFlags.crashMax != 0 {
            crashMax = Int(try reader.varint(atMost: UInt64(JobTerms.crashesMax)))
        }
        if flags & RecordFlags.finalErrors != 0 { finalErrors = try ErrorClasses(from: &reader) }
        if flags & RecordFlags.sharing != 0 { sharing = try SharingSettings(from: &reader) }
        retention = try RetentionSettings(flags: flags, from: &reader)
        if flags & RecordFlags.ageing != 0 { ageing = Int64(try reader.varint(atMost: UInt64(QueueTerms.ageingMax))) }
    }
}

extension CursorSet {
    fileprivate init(from reader: inout ByteReader, in context: Record.Context) throws(ByteReaderError) {
        let flags = try reader.flags(known: RecordFlags.cursorSet)
        let name = try reader.name()
        let start = reader.offset
        let distance = try reader.varint(atMost: context.sequence.rawValue - 1)
        var caps = CursorCaps.standard
        if flags & RecordFlags.cursorBytes != 0 {
            caps.bytes = try reader.varint(atMost: CursorCaps.bytesMax)
            guard caps.bytes != CursorCaps.standard.bytes else { throw ByteReaderError(.notCanonical, at: start) }
        }
        if flags & RecordFlags.cursorAge != 0 {
            caps.age = try reader.varint(atMost: CursorCaps.ageMax)
            guard caps.age != CursorCaps.standard.age else { throw ByteReaderError(.notCanonical, at: start) }
        }
        let next = SequenceNumber(context.sequence.rawValue - distance)
        self.init(name: name, cursor: Cursor(next: next, caps: caps))
    }
}

extension StoreSettings {
    fileprivate init(from reader: inout ByteReader) throws(ByteReaderError) {
        let start = reader.offset
        let flags = try reader.flags(known: RecordFlags.storeSettings)
        guard flags != 0 else { throw ByteReaderError(.notCanonical, at: start) }
        self.init()
        if flags & RecordFlags.storeJobs != 0 { jobs = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax))) }
        if flags & RecordFlags.storeBytes != 0 {
            payloadBytes = Int(try reader.varint(atMost: UInt64(QueueTerms.limitMax)))
        }
    }
}

// MARK: - Fields

extension ByteReader {
    fileprivate mutating func flags(known: UInt64) throws(ByteReaderError) -> UInt64 {
        let start = offset
        let flags = try varint()
        guard flags & ~known == 0 || Safeguard.recordFlags.isOff else { throw ByteReaderError(.unsupported, at: start) }
        return flags
    }

    fileprivate mutating func name() throws(ByteReaderError) -> String {
        try countedString(atMost: RecordLimits.nameBytesMax)
    }

    private mutating func skipName() throws(ByteReaderError) {
        try skip(Int(try varint(atMost: UInt64(RecordLimits.nameBytesMax))))
    }

    /// Skips what a lease says before its job.
    fileprivate mutating func skipFieldsOfLease() throws(ByteReaderError) {
        let flags = try flags(known: RecordFlags.lease)
        try skipLane(flags)
        if flags & RecordFlags.attempt != 0 { _ = try varint() }
        if flags & RecordFlags.worker != 0 { try skipName() }
        _ = try varint()
    }

    private mutating func skipLane(_ flags: UInt64) throws(ByteReaderError) {
        try skipName()
        if flags & RecordFlags.priority != 0 { try skip(1) }
        if flags & RecordFlags.maxAttempts != 0 { _ = try varint() }
        if flags & RecordFlags.group != 0 { try skipName() }
        if flags & RecordFlags.weight != 0 { _ = try varint() }
    }

    /// Skips what is before the payload of a job of which nothing is said but its lane; returns false for any other.
    fileprivate mutating func skipFieldsOfPlainJob() throws(ByteReaderError) -> Bool {
        let flags = try varint()
        guard flags & ~RecordFlags.lane == 0 else { return false }
        try skipLane(flags)
        return true
    }

    fileprivate mutating func headers() throws(ByteReaderError) -> [Enqueue.Header] {
        var headers: [Enqueue.Header] = []
        var bytesLeft = RecordLimits.headersBytesMax
        for _ in 0..<(try varint(atMost: UInt64(RecordLimits.headersCountMax))) {
            let name = try countedString(atMost: bytesLeft)
            bytesLeft -= name.utf8.count
            let value = try countedString(atMost: bytesLeft)
            bytesLeft -= value.utf8.count
            headers.append(Enqueue.Header(name: name, value: value))
        }
        return headers
    }

    fileprivate mutating func timestamp() throws(ByteReaderError) -> Timestamp {
        Timestamp(milliseconds: Int64(try varint(atMost: UInt64(Timestamp.max.milliseconds))))
    }

    fileprivate mutating func instant(in context: Record.Context) throws(ByteReaderError) -> Timestamp {
        let start = offset
        let zigzag = try varint()
        let delta = Int64(bitPattern: zigzag >> 1) ^ -Int64(bitPattern: zigzag & 1)
        let instant = Timestamp(milliseconds: context.time.milliseconds &+ delta)
        guard instant >= .zero && instant <= .max || Safeguard.recordInstants.isOff else {
            throw ByteReaderError(.tooLong, at: start)
        }
        return instant
    }

    fileprivate mutating func job(in context: Record.Context) throws(ByteReaderError) -> JobID {
        JobID(try reference(in: context))
    }

    fileprivate mutating func token(in context: Record.Context) throws(ByteReaderError) -> LeaseToken {
        LeaseToken(try reference(in: context))
    }

    private mutating func reference(in context: Record.Context) throws(ByteReaderError) -> UInt64 {
        let start = offset
        let distance = try varint()
        guard distance > 0 && distance < context.sequence.rawValue || Safeguard.recordReferences.isOff else {
            throw ByteReaderError(.tooLong, at: start)
        }
        return context.sequence.rawValue - distance
    }

    fileprivate mutating func rest(atMost limit: Int) throws(ByteReaderError) -> [UInt8] {
        guard remaining <= limit else { throw ByteReaderError(.tooLong, at: offset) }
        return try array(remaining)
    }

    fileprivate mutating func restString(atMost limit: Int) throws(ByteReaderError) -> String {
        guard remaining <= limit else { throw ByteReaderError(.tooLong, at: offset) }
        let start = offset
        guard let string = String(validating: try span(remaining)) else { throw ByteReaderError(.notUTF8, at: start) }
        return string
    }
}
