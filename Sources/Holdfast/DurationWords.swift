// Lengths of time as people say them.

extension Duration {
    /// For example `250 ms`, `4.2 s`, `7 min 30 s`, `5 h 10 min`, `30 d`.
    package var words: String {
        let milliseconds = Int(self / .milliseconds(1))
        if milliseconds < 1000 { return "\(milliseconds) ms" }
        if milliseconds < 60_000 { return "\(milliseconds / 1000).\(milliseconds / 100 % 10) s" }
        let seconds = milliseconds / 1000
        if seconds < 3600 { return Self.words(seconds, "min", of: 60, seconds % 60, "s") }
        if seconds < 172_800 { return Self.words(seconds, "h", of: 3600, seconds / 60 % 60, "min") }
        return Self.words(seconds, "d", of: 86_400, seconds / 3600 % 24, "h")
    }

    private static func words(_ seconds: Int, _ unit: String, of length: Int, _ rest: Int, _ part: String) -> String {
        "\(seconds / length) \(unit)" + (rest == 0 ? "" : " \(rest) \(part)")
    }
}
