// What a queue says of its groups, for people, and as an owner of the store answers it.

import Holdfast
import HoldfastEngine

extension SharingTerms {
    /// Takes them from what an owner says of a queue.
    init(reply: JSONValue) {
        self.init()
        groupRunningMax = reply["group_running_max"]?.integer.map { Int($0) }
        if let name = reply["group_order"]?.string, let known = QueueConfiguration.GroupOrder(rawValue: name) {
            order = known.engineOrder
        }
        rate = Self.rate(reply["rate"])
        groupRate = Self.rate(reply["group_rate"])
        if let name = reply["limiter"]?["name"]?.string, let size = reply["limiter"]?["size"]?.integer {
            limiter = SharedLimiter(name: name, size: Int(size))
        }
    }

    private static func rate(_ value: JSONValue?) -> RateLimit? {
        guard let count = value?["count"]?.integer, let period = value?["period_ms"]?.integer,
            let burst = value?["burst"]?.integer
        else { return nil }
        return RateLimit(count: Int(count), periodMilliseconds: period, burst: Int(burst))
    }

    /// What was set; `nil` when nothing was.
    var words: String? {
        let parts = [
            groupRunningMax.map { "runs \($0) of a group at once" }, orderWords, rate.map { "leases \($0)" },
            groupRate.map { "leases \($0) of a group" }, limiter.map { "shares \($0)" },
        ].compactMap(\.self)
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }

    private var orderWords: String? {
        switch order {
        case .free: nil
        case .strict: "runs each group in order"
        case .parking: "runs each group in order but for jobs that wait"
        }
    }
}
