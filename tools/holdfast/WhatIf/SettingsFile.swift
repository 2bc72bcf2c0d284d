// The file that says what is to be different. One JSON object: settings for every queue, settings for single queues
// under `queues`, and `shared_workers`. What makes no sense is refused with what may stand there.

import HoldfastEngine
import HoldfastWhatIf

/// Reads settings for a replay.
struct SettingsFile {
    /// A longer file is none.
    static let bytesMax = 1 << 20
    private static let queueKeys = ["workers", "limit", "lease_ms", "max_attempts", "retry", "speed"]
    private static let topKeys = queueKeys + ["shared_workers", "queues"]
    private static let leaseMax: Int64 = 7 * 86_400_000

    /// How messages call the file.
    private let name: String
    private let root: JSONValue

    /// Parses a file.
    ///
    /// - Parameter path: For messages.
    init(_ bytes: [UInt8], path: String) throws(CommandFailure) {
        name = path == "-" ? "standard input" : path
        let document: JSONDocument
        do throws(JSONError) { document = try JSONDocument(bytes) } catch {
            throw Self.failure(name, "is not JSON: \(error)")
        }
        root = document.root
        guard root.kind == .object else {
            throw Self.failure(name, #"is \#(root.kind.name); give an object such as {"workers": 4}"#)
        }
    }

    /// Returns the settings for the queues of a history.
    func settings(for queues: [String]) throws(CommandFailure) -> WhatIfSettings {
        try checkKeys(of: root, Self.topKeys, "")
        var settings = WhatIfSettings(queues: queues.count)
        if let value = root["shared_workers"], !isRecorded(value) {
            settings.sharedWorkers = Int(try integer(value, 1...Int64(WhatIfSettings.workersMax), "shared_workers"))
        }
        let all = try read(root, WhatIfQueue(), "")
        for index in queues.indices { settings.queues[index] = all }
        guard let named = root["queues"] else { return settings }
        guard let fields = named.fields else {
            throw refusal("queues", named, "an object with a field for each queue that is to be different")
        }
        for field in fields {
            let queue = field.name.string ?? ""
            guard let index = queues.firstIndex(of: queue) else {
                let known = queues.isEmpty ? "none" : queues.sorted().prefix(20).joined(separator: ", ")
                throw Self.failure(name, "names the queue \(queue), of which the range holds no job; it has: \(known)")
            }
            let place = "queues.\(queue)."
            guard field.value.kind == .object else { throw refusal("queues.\(queue)", field.value, "an object") }
            try checkKeys(of: field.value, Self.queueKeys, place)
            settings.queues[index] = try read(field.value, all, place)
        }
        return settings
    }

    private func read(_ value: JSONValue, _ base: WhatIfQueue, _ place: String) throws(CommandFailure) -> WhatIfQueue {
        var queue = base
        if let workers = value["workers"] {
            let range = 1...Int64(WhatIfSettings.workersMax)
            queue.workers = isRecorded(workers) ? nil : Int(try integer(workers, range, place + "workers"))
        }
        if let limit = value["limit"] {
            let range = 1...Int64(WhatIfSettings.workersMax)
            queue.limit = isRecorded(limit) ? nil : Int(try integer(limit, range, place + "limit"))
        }
        if let lease = value["lease_ms"] {
            queue.leaseMilliseconds =
                isRecorded(lease) ? nil : try integer(lease, 1...Self.leaseMax, place + "lease_ms")
        }
        if let attempts = value["max_attempts"] {
            let range = 1...Int64(RecordLimits.maxAttemptsMax)
            queue.maxAttempts =
                isRecorded(attempts) ? nil : UInt32(try integer(attempts, range, place + "max_attempts"))
        }
        if let retry = value["retry"], !isRecorded(retry) {
            do throws(RetryJSONError) { queue.retry = .policy(try RetryPolicy(retry)) } catch {
                let wanted = error.place.isEmpty ? #""recorded", "# + error.wanted : error.wanted
                throw refusal(place + "retry" + error.place, error.value, wanted)
            }
        } else if value["retry"] != nil {
            queue.retry = .recorded
        }
        if let speed = value["speed"] {
            queue.speed = isRecorded(speed) ? 1 : try number(speed, 0.001...1000, place + "speed")
        }
        return queue
    }

    // MARK: - Values

    private func isRecorded(_ value: JSONValue) -> Bool { value.string == "recorded" }

    private func integer(
        _ value: JSONValue, _ range: ClosedRange<Int64>, _ place: String
    ) throws(CommandFailure) -> Int64 {
        if let integer = value.integer, range.contains(integer) { return integer }
        throw refusal(
            place, value, #"a whole number from \#(range.lowerBound) to \#(range.upperBound), or "recorded""#)
    }

    private func number(
        _ value: JSONValue, _ range: ClosedRange<Double>, _ place: String
    ) throws(CommandFailure) -> Double {
        if value.kind == .number, let number = Double(String(decoding: value.raw, as: UTF8.self)),
            range.contains(number)
        {
            return number
        }
        throw refusal(place, value, "a number from \(range.lowerBound) to \(range.upperBound)")
    }

    private func checkKeys(of value: JSONValue, _ known: [String], _ place: String) throws(CommandFailure) {
        for field in value.fields ?? [] {
            let key = field.name.string ?? ""
            guard known.contains(key) else {
                throw Self.failure(
                    name, "has the unknown key \(place)\(key); known ones are \(known.joined(separator: ", "))")
            }
        }
    }

    private func refusal(_ place: String, _ value: JSONValue, _ wanted: String) -> CommandFailure {
        let given = Terminal.firstLine(String(decoding: value.raw, as: UTF8.self), columns: 60)
        return Self.failure(name, "has \(given) at \(place); give \(wanted)")
    }

    private static func failure(_ name: String, _ what: String) -> CommandFailure {
        CommandFailure("\(name) \(what)", exitCode: CommandFailure.usageCode)
    }
}
