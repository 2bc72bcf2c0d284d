// What a queue says of its groups, how often its jobs are leased, and slots that queues share.

package import HoldfastEngine

extension QueueConfiguration {
    /// In which order the jobs of one group run. Jobs without a group are not concerned.
    public enum GroupOrder: String, Hashable, Sendable, CaseIterable {
        /// As workers ask for them: several at once, and by priority.
        case free
        /// One at a time, in the order of their ids, whatever their priority. One that waits, for its retry or for its
        /// delay, keeps those after it waiting; one that is dead or cancelled does not.
        case strict
        /// One at a time, in the order of their ids, but those that wait for a time are passed over meanwhile.
        case parking
    }

    /// A limit on how often jobs are leased. Who asks for more waits; nobody polls.
    public struct Rate: Hashable, Sendable {
        /// How many in each period, spread evenly over it; 1 to 1,000,000.
        public var count: Int
        /// Whole milliseconds, at most 366 days.
        public var period: Duration
        /// How many at once after a while without any; 1 to 1,000,000.
        public var burst: Int

        /// So many in each period; unless said otherwise as many at once.
        public init(_ count: Int, per period: Duration, burst: Int? = nil) {
            self.count = count
            self.period = period
            self.burst = burst ?? count
        }

        init(_ limit: RateLimit) {
            self.init(limit.count, per: .milliseconds(limit.periodMilliseconds), burst: limit.burst)
        }

        func limit() throws(JobStoreError) -> RateLimit {
            let limit = RateLimit(count: count, periodMilliseconds: period.wholeMilliseconds ?? -1, burst: burst)
            guard limit.isValid else { throw Self.refusal }
            return limit
        }

        static var refusal: JobStoreError {
            JobStoreError(
                .badRequest,
                "`rate` is out of bounds: give a count and a burst of 1 to 1,000,000 and a period of 1 ms to 366 days")
        }
    }

    /// Slots that queues share: of the jobs of all queues that name it, so many are leased at once. Each queue has its
    /// own say on how many; give all the same.
    public struct Limiter: Hashable, Sendable {
        /// What the queues have in common.
        public var name: String
        /// How many; 1 to 2^40.
        public var size: Int

        /// Slots of that name.
        public init(name: String, size: Int) { (self.name, self.size) = (name, size) }

        func shared() throws(JobStoreError) -> SharedLimiter {
            let limiter = SharedLimiter(name: name, size: size)
            guard limiter.isValid else { throw Self.refusal }
            return limiter
        }

        static var refusal: JobStoreError {
            JobStoreError(
                .badRequest, "`limiter` is out of bounds: give a name of 1 to 255 bytes and a size of 1 to 2^40")
        }
    }

    /// The part of a change of settings that is about groups, rates and shared slots.
    ///
    /// - Throws: `.badRequest` for a rate or a limiter out of bounds.
    package func sharing() throws(JobStoreError) -> SharingSettings {
        SharingSettings(
            groupRunningMax: groupRunningMax ?? 0, order: groupOrder.engineOrder,
            rate: try rate?.limit() ?? RateLimit.none, limiter: try limiter?.shared() ?? SharedLimiter.none,
            groupRate: try groupRate?.limit() ?? RateLimit.none)
    }
}

extension QueueConfiguration.GroupOrder {
    /// That of the state.
    package init(_ order: HoldfastEngine.GroupOrder) {
        switch order {
        case .free: self = .free
        case .strict: self = .strict
        case .parking: self = .parking
        }
    }

    /// That of the state.
    package var engineOrder: HoldfastEngine.GroupOrder {
        switch self {
        case .free: .free
        case .strict: .strict
        case .parking: .parking
        }
    }
}

extension HoldfastEngine.GroupOrder {
    /// What people and protocols call it.
    package var name: String { QueueConfiguration.GroupOrder(self).rawValue }
}
