// One line on standard error that is drawn again and again while something goes on.

/// A line on a terminal that is overwritten as things go on; nothing when standard error is no terminal.
struct ProgressLine {
    private static let interval = Duration.milliseconds(100)
    /// To the first column, and away with what is there.
    static let erase = "\r\u{1B}[K"

    private let isShown: Bool
    private var drawnAt: ContinuousClock.Instant?
    private var hasText = false

    init(isShown: Bool = Descriptor.standardError.isTerminal) { self.isShown = isShown }

    /// Draws the line, unless it was drawn a moment ago.
    mutating func update(_ text: @autoclosure () -> String) {
        guard let drawn = drawing(at: .now, columns: Terminal.columns, text) else { return }
        Descriptor.standardError.writeText(drawn)
    }

    /// Removes the line.
    mutating func clear() {
        if let drawn = clearing() { Descriptor.standardError.writeText(drawn) }
    }

    /// Returns what draws the line at `now` on a terminal `columns` wide; `nil` when it is left as it is.
    mutating func drawing(at now: ContinuousClock.Instant, columns: Int, _ text: () -> String) -> String? {
        guard isShown else { return nil }
        if let drawnAt, now - drawnAt < Self.interval { return nil }
        drawnAt = now
        hasText = true
        // A full last column would move the terminal on to the next line.
        return Self.erase + text().prefix(max(columns - 1, 0))
    }

    /// Returns what removes the line; `nil` when there is none.
    mutating func clearing() -> String? {
        defer { hasText = false }
        return hasText ? Self.erase : nil
    }
}
