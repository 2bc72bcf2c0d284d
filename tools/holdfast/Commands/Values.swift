// How values of options are spelt, and what may be given. What is not taken is refused before anything is opened, with
// what to give instead; the store's own checks, whose messages speak of fields of requests, then find nothing.

import ArgumentParser
import Holdfast
import HoldfastBytes
import HoldfastEngine

/// Readers of option values, for `transform:`. Each throws a `ValidationError` that says what to give.
enum Values {
    /// Reads a number in `range`.
    @Sendable static func number<Number: FixedWidthInteger & Sendable>(
        _ range: ClosedRange<Number>
    ) -> @Sendable (String) throws -> Number {
        { text in
            if let number = Number(text), range.contains(number) { return number }
            // A bound that nobody will reach is none to speak of.
            let isOpen = range.upperBound == Number.max || range.upperBound == Number(clamping: Int64.max)
            throw ValidationError(
                "give " + (isOpen ? "\(range.lowerBound) or more" : "\(range.lowerBound) to \(range.upperBound)"))
        }
    }

    /// Reads how many of something, 1 or more.
    @Sendable static func count(_ text: String) throws -> Int { try number(1...Int.max)(text) }

    /// Reads a job's id.
    @Sendable static func id(_ text: String) throws -> UInt64 {
        if let id = UInt64(text), (1...UInt64(Int64.max)).contains(id) { return id }
        throw ValidationError("give the number of a job, as enqueue and jobs print it")
    }

    /// Reads a sequence number.
    @Sendable static func sequence(_ text: String) throws -> UInt64 { try number(0...UInt64(Int64.max))(text) }

    /// Reads a moment of a store's past: a sequence number, or a time.
    @Sendable static func moment(_ text: String) throws -> StoreMoment {
        if let number = UInt64(text), number <= SequenceNumber.max.rawValue { return .sequence(SequenceNumber(number)) }
        guard let time = CalendarTime.parse(text, now: SystemClock().wallNow()) else {
            throw ValidationError(
                "give a sequence number, or a time such as 2026-11-21T02:31:18Z, or 10m for so long ago")
        }
        return .time(time)
    }

    /// Reads a time, or how long ago it was.
    @Sendable static func instant(_ text: String) throws -> Timestamp {
        guard let time = CalendarTime.parse(text, now: SystemClock().wallNow()) else {
            throw ValidationError("give a time such as 2026-11-21T02:31:18Z, or 10m for so long ago")
        }
        return time
    }

    /// Reads a published head.
    @Sendable static func auditHead(_ text: String) throws -> AuditHead {
        guard let head = AuditHead(text) else {
            throw ValidationError("give SEQ:HASH as holdfast audit-head prints it: a number, and 64 hexadecimal digits")
        }
        return head
    }

    /// Reads the name of a queue, and its weight behind an equals sign. A name that ends like that is given with both.
    @Sendable static func queue(_ text: String) throws -> QueuesArgument.Queue {
        guard let sign = text.lastIndex(of: "="), let weight = Int(text[text.index(after: sign)...]) else {
            return QueuesArgument.Queue(name: try name(text), weight: nil)
        }
        guard (1...LeaseTurns.weightMax).contains(weight) else {
            throw ValidationError("give a weight of 1 to \(LeaseTurns.weightMax)")
        }
        return QueuesArgument.Queue(name: try name(String(text[..<sign])), weight: weight)
    }

    /// Reads the name of a queue, a group or a worker.
    @Sendable static func name(_ text: String) throws -> String {
        let bytes = text.utf8.count
        guard (1...RecordLimits.nameBytesMax).contains(bytes) else {
            throw ValidationError("it is \(bytes) bytes long; give a name of 1 to \(RecordLimits.nameBytesMax) bytes")
        }
        return text
    }

    /// Reads a length of time.
    @Sendable static func time(_ text: String) throws -> TimeSpan { try time(text, atLeast: 0) }

    /// Reads a length of time that is not 0.
    @Sendable static func positiveTime(_ text: String) throws -> TimeSpan { try time(text, atLeast: 1) }

    private static func time(_ text: String, atLeast minimum: Int64) throws -> TimeSpan {
        guard let span = TimeSpan(argument: text) else {
            throw ValidationError("give a time such as 250ms, 30s, 5m, 2h or 7d")
        }
        guard (minimum...TimeSpan.longest.milliseconds).contains(span.milliseconds) else {
            throw ValidationError("give \(minimum == 0 ? "0s" : "\(minimum)ms") to 365000d")
        }
        return span
    }

    /// Reads the length of a lease that commands are run under.
    @Sendable static func lease(_ text: String) throws -> TimeSpan {
        let span = try time(text)
        guard (1000...Limits.leaseMillisecondsMax).contains(span.milliseconds) else {
            throw ValidationError("give 1s to 7d")
        }
        return span
    }

    /// Reads `name=value`.
    @Sendable static func header(_ text: String) throws -> JobHeader {
        guard let separator = text.firstIndex(of: "=") else { throw ValidationError("give name=value") }
        return JobHeader(name: String(text[..<separator]), value: String(text[text.index(after: separator)...]))
    }

    /// Labels by name; of several for one name the last.
    static func labels(_ pairs: [JobHeader]) -> [String: String] {
        Dictionary(pairs.map { ($0.name, $0.value) }) { _, last in last }
    }

    /// Reads a state of jobs, one of `states`.
    @Sendable static func state(
        oneOf states: [JobInfo.State]
    ) -> @Sendable (String) throws -> JobInfo.State {
        { text in
            if let state = JobInfo.State(rawValue: text), states.contains(state) { return state }
            throw ValidationError("give one of \(list(states.map(\.rawValue)))")
        }
    }

    /// Reads a kind of records, as `dump` prints it.
    @Sendable static func recordKind(_ text: String) throws -> String {
        if RecordKind.allCases.contains(where: { $0.printedName == text }) { return text }
        throw ValidationError("give one of \(recordKinds)")
    }

    /// The kinds of records in words.
    static var recordKinds: String { list(RecordKind.allCases.map(\.printedName)) }

    /// Reads when a reply may leave.
    @Sendable static func durability(_ text: String) throws -> JobStoreOptions.Durability {
        switch text {
        case "commit": return .commit
        case "none": return .none
        default:
            let longest = JobStoreOptions.intervalMillisecondsMax
            guard text.hasPrefix("interval:"), let milliseconds = Int(text.dropFirst("interval:".count)),
                (1...longest).contains(milliseconds)
            else { throw ValidationError("give commit, none, or interval:MS with 1 to \(longest) milliseconds") }
            return .interval(milliseconds: milliseconds)
        }
    }

    /// Reads how much is kept of finished jobs.
    @Sendable static func history(_ text: String) throws -> JobStoreOptions.History {
        switch text {
        case "none": return .none
        case "unlimited": return .unlimited
        default:
            if text.hasPrefix("age:"), let span = TimeSpan(argument: String(text.dropFirst("age:".count))),
                span.milliseconds <= TimeSpan.longest.milliseconds
            {
                return .age(span.duration)
            }
            guard text.hasPrefix("bytes:"), let count = Int(text.dropFirst("bytes:".count)), count >= 0 else {
                throw ValidationError("give none, unlimited, bytes:N, or age:TIME such as age:7d")
            }
            return .bytes(count)
        }
    }

    /// Reads one of several words.
    @Sendable static func word<Word: RawRepresentable<String> & CaseIterable>(_ text: String) throws -> Word {
        if let word = Word(rawValue: text) { return word }
        throw ValidationError("give \(list(Word.allCases.map(\.rawValue)))")
    }

    private static func list(_ words: [String]) -> String {
        words.dropLast().joined(separator: ", ") + (words.count > 1 ? " or " : "") + (words.last ?? "")
    }
}

/// A length of time: `250ms`, `30` or `30s`, `5m`, `2h`, `7d`.
struct TimeSpan: ExpressibleByArgument, Hashable, Sendable {
    let milliseconds: Int64

    /// Longer ones would end after the year 9999, sooner or later.
    static let longest = TimeSpan(seconds: 365_000 * 86_400)

    init(seconds: Int64) { milliseconds = seconds * 1000 }

    init?(argument: String) {
        let digits = argument.prefix { $0.isASCII && $0.isNumber }
        let units: [String: Int64] = ["": 1000, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]
        guard let number = Int64(digits), let unit = units[String(argument.dropFirst(digits.count))] else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit)
        if overflow { return nil }
        milliseconds = product
    }

    var duration: Duration { .milliseconds(milliseconds) }

    var defaultValueDescription: String {
        milliseconds.isMultiple(of: 1000) ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}
