// Effects whose value is being computed: of several callers that want one key, one computes and the others wait.

/// Names an effect.
package struct EffectName: Hashable, Sendable {
    package let scope: String
    package let key: String
}

/// The effects under way and who waits for them.
struct EffectFlights: Sendable {
    private var waiting: [EffectName: [WaitingCaller]] = [:]

    /// Begins to compute an effect.
    ///
    /// - Returns: `nil` for whoever is to compute it; otherwise the waiter, which is woken when that has ended.
    mutating func begin(_ name: EffectName, orWait waiter: @autoclosure () -> WaitingCaller) -> WaitingCaller? {
        guard waiting[name] != nil else {
            waiting[name] = []
            return nil
        }
        let waiter = waiter()
        waiting[name]?.append(waiter)
        return waiter
    }

    /// Forgets all and returns whom to wake.
    mutating func removeAll() -> [WaitingCaller] {
        defer { waiting = [:] }
        return waiting.values.flatMap { $0 }
    }

    /// Ends it, whether or not a value was recorded, and returns whom to wake.
    mutating func end(_ name: EffectName) -> [WaitingCaller] { waiting.removeValue(forKey: name) ?? [] }
}
