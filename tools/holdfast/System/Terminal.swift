// What people see: lines on standard output, and one line on standard error that is drawn again and again.

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Writing for people.
enum Terminal {
    /// Writes a line to standard output; nobody reading it is no error.
    static func print(_ line: String) throws(CommandFailure) { try write([UInt8](line.utf8) + [0x0A]) }

    /// Writes to standard output; nobody reading it is no error.
    static func write(_ bytes: [UInt8]) throws(CommandFailure) { _ = try isRead(after: bytes) }

    /// Writes to standard output.
    ///
    /// - Returns: Whether anybody reads it, so that going on makes sense.
    static func isRead(after bytes: [UInt8]) throws(CommandFailure) -> Bool {
        do throws(SystemError) {
            try Descriptor.standardOutput.writeAll(bytes)
            return true
        } catch {
            if error.number == SystemError.brokenPipe { return false }
            throw CommandFailure("could not write the output: \(error.reason)")
        }
    }

    /// Returns a number of things in words: `no jobs`, `1 job`, `2,000 jobs`.
    static func count<Number: BinaryInteger>(_ number: Number, _ noun: String) -> String {
        (number == 0 ? "no" : grouped(number)) + " " + noun + (number == 1 ? "" : "s")
    }

    /// Returns the first line of a text that others wrote, cut to `columns`, without what a terminal would obey.
    static func firstLine(_ text: String, columns: Int = 160) -> String {
        let line = text.drop(while: \.isWhitespace).prefix { !$0.isNewline }
        let shown = line.unicodeScalars.prefix(columns).map { scalar in
            let isControl = scalar.properties.generalCategory == .control
            return Character(isControl ? " " : scalar)
        }
        return String(shown) + (line.unicodeScalars.count > columns ? "…" : "")
    }

    /// How many processors there are.
    static var processors: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

    /// The width of the terminal on standard error, in columns.
    static var columns: Int {
        var size = winsize()
        let status = ioctl(2, UInt(TIOCGWINSZ), &size)
        return status == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    /// Returns `number` with its digits in groups of three.
    static func grouped<Number: BinaryInteger>(_ number: Number) -> String {
        let digits = String(number.magnitude)
        var result = number < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index).isMultiple(of: 3) { result.append(",") }
            result.append(digit)
        }
        return result
    }

    /// Returns `tenths` / 10 with one decimal.
    static func decimal(tenths: Int) -> String { "\(tenths / 10).\(abs(tenths % 10))" }

    /// Returns a number of bytes in the unit that keeps it short.
    static func bytes(_ count: Int) -> String {
        let units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
        var (unit, divisor) = (0, 1)
        while unit < units.count - 1 && count / divisor >= 1024 {
            unit += 1
            divisor *= 1024
        }
        return unit == 0
            ? "\(count) bytes" : "\(decimal(tenths: Int(Double(count) * 10 / Double(divisor)))) \(units[unit])"
    }
}
