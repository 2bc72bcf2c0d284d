// A retry policy as JSON, the same in the line protocol, in the file of a replay, in what the store says of a queue and
// on the command line:
//
//     "default"
//     {"fixed_ms": 1000}
//     {"exponential": {"base_ms": 1000, "factor": 2, "cap_ms": 86400000}}    factor and cap_ms as here unless given
//     {"custom_ms": [1000, 5000]}
//
// each object with "jitter_percent" beside that, 0 unless given.

import HoldfastEngine

/// What is wrong with a retry policy in JSON.
struct RetryJSONError: Error {
    /// The field below the policy, such as `.fixed_ms`; empty for the policy itself.
    let place: String
    let value: JSONValue
    /// What may stand there.
    let wanted: String
}

extension RetryPolicy {
    /// Reads a policy.
    init(_ value: JSONValue) throws(RetryJSONError) {
        if value.string == "default" {
            self = .standard
            return
        }
        guard let fields = value.fields else { throw Self.wanted(value) }
        let growths = fields.compactMap { $0.name.string }.filter { $0 != "jitter_percent" }
        guard growths.count == 1 else { throw Self.wanted(value) }
        var jitter: UInt8 = 0
        if let percent = value["jitter_percent"] {
            jitter = UInt8(try Self.integer(percent, 0...100, ".jitter_percent"))
        }
        let growth: Growth
        switch growths[0] {
        case "fixed_ms": growth = .fixed(try Self.delay(value["fixed_ms"] ?? value, ".fixed_ms"))
        case "exponential": growth = try Self.exponential(value["exponential"] ?? value)
        case "custom_ms":
            let list = value["custom_ms"] ?? value
            guard let elements = list.elements, (1...Self.listMax).contains(elements.count) else {
                throw RetryJSONError(place: ".custom_ms", value: list, wanted: "a list of 1 to \(Self.listMax) delays")
            }
            var delays: [Int64] = []
            for element in elements { delays.append(try Self.delay(element, ".custom_ms")) }
            growth = .listed(delays)
        default: throw Self.wanted(value)
        }
        self.init(growth, jitterPercent: jitter)
        guard isValid else { throw Self.wanted(value) }
    }

    /// What may stand for a policy.
    static let forms =
        #""default", {"fixed_ms": 1000}, {"exponential": {"base_ms": 1000, "factor": 2, "cap_ms": 60000}} or "#
        + #"{"custom_ms": [1000, 5000]}"#

    private static func wanted(_ value: JSONValue) -> RetryJSONError {
        RetryJSONError(place: "", value: value, wanted: forms)
    }

    private static func exponential(_ value: JSONValue) throws(RetryJSONError) -> Growth {
        let place = ".exponential"
        guard let fields = value.fields else { throw RetryJSONError(place: place, value: value, wanted: "an object") }
        for field in fields {
            let name = field.name.string ?? ""
            guard ["base_ms", "factor", "cap_ms"].contains(name) else {
                throw RetryJSONError(
                    place: "\(place).\(name)", value: field.value, wanted: "base_ms, factor and cap_ms only")
            }
        }
        guard let base = value["base_ms"] else {
            throw RetryJSONError(
                place: place, value: value,
                wanted: "base_ms, and where 2 and a day are not meant, factor and cap_ms")
        }
        let first = try delay(base, place + ".base_ms")
        var factor: UInt32 = 2000
        if let given = value["factor"] { factor = try thousandths(given, place + ".factor") }
        var most = Self.quarticMillisecondsMax
        if let given = value["cap_ms"] { most = try delay(given, place + ".cap_ms") }
        guard first <= most else {
            throw RetryJSONError(place: place, value: value, wanted: "a base_ms that is at most cap_ms, \(most) here")
        }
        return .exponential(first: first, factor: factor, most: most)
    }

    private static func delay(_ value: JSONValue, _ place: String) throws(RetryJSONError) -> Int64 {
        try integer(value, 0...delayMillisecondsMax, place)
    }

    private static func integer(
        _ value: JSONValue, _ range: ClosedRange<Int64>, _ place: String
    ) throws(RetryJSONError) -> Int64 {
        if let integer = value.integer, range.contains(integer) { return integer }
        throw RetryJSONError(
            place: place, value: value, wanted: "a whole number from \(range.lowerBound) to \(range.upperBound)")
    }

    private static func thousandths(_ value: JSONValue, _ place: String) throws(RetryJSONError) -> UInt32 {
        if value.kind == .number, let number = Double(String(decoding: value.raw, as: UTF8.self)),
            let factor = UInt32(exactly: (number * 1000).rounded()), factors.contains(factor)
        {
            return factor
        }
        throw RetryJSONError(place: place, value: value, wanted: "a number from 1.01 to 1000")
    }
}

extension JSONWriter {
    /// Writes a policy as `RetryPolicy.init(_:)` reads it.
    mutating func value(_ policy: RetryPolicy) {
        if policy == .standard { return value("default") }
        beginObject()
        switch policy.growth {
        // No other jitter can be given to it.
        case .quartic: break
        case .fixed(let delay): field("fixed_ms", delay)
        case .exponential(let first, let factor, let most):
            key("exponential")
            beginObject()
            field("base_ms", first)
            key("factor")
            value(raw: [UInt8](RetryPolicy.decimal(factor).utf8))
            field("cap_ms", most)
            endObject()
        case .listed(let list):
            key("custom_ms")
            beginArray()
            for delay in list { value(delay) }
            endArray()
        }
        if policy.jitterPercent > 0 { field("jitter_percent", policy.jitterPercent) }
        endObject()
    }
}
