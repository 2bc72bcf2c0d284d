// What few jobs say when they are enqueued. It is behind one reference, so that a plain job, which is copied on its way
// from the caller into the log, stays small.

package import HoldfastBytes

extension Enqueue {
    /// What a plain job does not say.
    struct Extras: Hashable, Sendable {
        private final class Values: Hashable, Sendable {
            let content: Content
            init(_ content: Content) { self.content = content }
            static func == (a: Values, b: Values) -> Bool { a === b || a.content == b.content }
            func hash(into hasher: inout Hasher) { hasher.combine(content) }
        }

        struct Content: Hashable, Sendable {
            var uniqueKey: String?
            var uniqueUntil: Timestamp?
            var isKeyFreedByLease = false
            var startBy: Timestamp?
            var terms: JobTerms?
            var dependencies: EnqueueDependencies?
            var labels = JobLabels()
            var isSecret = false
        }

        private let values: Values

        var content: Content { values.content }

        /// `nil` where nothing is said.
        init?(_ content: Content) {
            if content == Content() { return nil }
            values = Values(content)
        }
    }

    private var content: Extras.Content {
        get { extras?.content ?? Extras.Content() }
        set { extras = Extras(newValue) }
    }

    /// Held until the job is acked, cancelled or dead; with `uniqueUntil`, until that instant whatever becomes of it.
    package var uniqueKey: String? {
        get { extras?.content.uniqueKey }
        set { content.uniqueKey = newValue }
    }

    package var uniqueUntil: Timestamp? {
        get { extras?.content.uniqueUntil }
        set { content.uniqueUntil = newValue }
    }

    /// Without `uniqueUntil`: the key is free for good once the job is leased.
    package var isKeyFreedByLease: Bool {
        get { extras?.content.isKeyFreedByLease ?? false }
        set { content.isKeyFreedByLease = newValue }
    }

    /// The job is dead (`ttl expired`) unless leased before.
    package var startBy: Timestamp? {
        get { extras?.content.startBy }
        set { content.startBy = newValue }
    }

    /// What it says about its attempts; `nil` when nothing.
    package var terms: JobTerms? {
        get { extras?.content.terms }
        set { content.terms = newValue }
    }

    /// What it says of other jobs; `nil` when nothing.
    package var dependencies: EnqueueDependencies? {
        get { extras?.content.dependencies }
        set { content.dependencies = newValue }
    }

    /// What it can be found by.
    package var labels: JobLabels {
        get { extras?.content.labels ?? JobLabels() }
        set { content.labels = newValue }
    }

    /// Its payload is for who holds its lease, and shown to nobody else.
    package var isSecret: Bool {
        get { extras?.content.isSecret ?? false }
        set { content.isSecret = newValue }
    }

    /// Whether it says only what any job may say at no cost.
    package var isWithoutExtras: Bool { extras == nil }
}
