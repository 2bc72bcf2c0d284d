// The steps that a piece of work recorded, taken once more in the same order. Each must be asked for as it was when it
// was recorded; one that was taken may be asked for again, as a running handler may.

/// Recorded steps, and how far somebody has come who takes them again.
package struct RecordedWay: Sendable {
    /// A step by its key and tag.
    package struct Step: Hashable, Sendable {
        /// The key.
        package let key: String
        /// What its value is, if that is known.
        package let tag: String?
    }

    /// Where somebody took another way.
    package struct Divergence: Error, Hashable, Sendable, CustomStringConvertible {
        /// Which step, counted from 1.
        package let position: Int
        /// What was recorded; `nil` when there was nothing more.
        package let recorded: Step?
        /// What was asked for; `nil` when that was nothing more.
        package let asked: Step?

        /// Both sides, for people.
        package var description: String {
            "step \(position): recorded is \(Self.text(recorded)), asked for is \(Self.text(asked))"
        }

        private static func text(_ step: Step?) -> String {
            step.map { "`\($0.key)`" + ($0.tag.map { " (\($0))" } ?? "") } ?? "nothing more"
        }
    }

    /// The steps, in the order in which they were recorded.
    package let recorded: [RecordedEffect]
    /// How many were taken.
    package private(set) var count = 0
    private var divergence: Divergence?

    /// Begins before the first step.
    package init(_ recorded: [RecordedEffect]) { self.recorded = recorded }

    /// Takes a step; a tag that is not given fits any.
    package mutating func take(_ key: String, tag: String?) -> Result<RecordedEffect, Divergence> {
        if let earlier = recorded.prefix(count).first(where: { $0.key == key }) { return .success(earlier) }
        let next = count < recorded.count ? recorded[count] : nil
        guard let next, next.key == key, next.tag == nil || tag == nil || next.tag == tag else {
            let found = Divergence(
                position: count + 1, recorded: next.map(Self.step), asked: Step(key: key, tag: tag))
            divergence = divergence ?? found
            return .failure(found)
        }
        count += 1
        return .success(next)
    }

    /// The first step that differed, or the first that was not asked for; `nil` when the way was taken to its end.
    package var difference: Divergence? {
        if let divergence { return divergence }
        guard count < recorded.count else { return nil }
        return Divergence(position: count + 1, recorded: Self.step(recorded[count]), asked: nil)
    }

    private static func step(_ effect: RecordedEffect) -> Step { Step(key: effect.key, tag: effect.tag) }
}
