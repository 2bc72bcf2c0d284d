// Unix milliseconds as people write them, in UTC (proleptic Gregorian calendar), and back. Foundation is not used.

import Holdfast

/// Times in text.
enum CalendarTime {
    /// Returns `time` such as `2026-11-21T02:31:18.123Z`.
    static func text(_ time: Timestamp) -> String {
        let (days, rest) = time.milliseconds.quotientAndRemainder(dividingBy: 86_400_000)
        let date = civil(days: Int(days))
        let fields = [rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60].map { padded($0, 2) }
        return "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))T"
            + fields.joined(separator: ":") + ".\(padded(rest % 1000, 3))Z"
    }

    /// Reads Unix milliseconds, `2026-11-21`, `2026-11-21T02:31[:18[.123]][Z]`, or a time span such as `10m`, which
    /// means so long before `now`.
    static func parse(_ text: String, now: Timestamp) -> Timestamp? {
        if let milliseconds = Int64(text) { return Timestamp(milliseconds: milliseconds) }
        if let span = TimeSpan(argument: text) { return now.advanced(byMilliseconds: -span.milliseconds) }
        let plain = text.hasSuffix("Z") ? text.dropLast() : text[...]
        let halves = plain.split(whereSeparator: { $0 == "T" || $0 == " " })
        guard (1...2).contains(halves.count) else { return nil }
        let date = halves[0].split(separator: "-").compactMap { Int($0) }
        guard date.count == 3, (1970...9999).contains(date[0]), (1...12).contains(date[1]), (1...31).contains(date[2])
        else { return nil }
        let days = days(year: date[0], month: date[1], day: date[2])
        // A day that its month does not have comes back as another one.
        guard civil(days: days) == (date[0], date[1], date[2]) else { return nil }
        var milliseconds = Int64(days) * 86_400_000
        if halves.count == 2 {
            guard let ofDay = millisecondsOfDay(halves[1]) else { return nil }
            milliseconds += ofDay
        }
        return Timestamp(milliseconds: milliseconds)
    }

    private static func millisecondsOfDay(_ text: Substring) -> Int64? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), let hour = Int64(parts[0]), let minute = Int64(parts[1]),
            (0...23).contains(hour), (0...59).contains(minute)
        else { return nil }
        var milliseconds = (hour * 60 + minute) * 60_000
        guard parts.count == 3 else { return milliseconds }
        let seconds = parts[2].split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(seconds.count), let whole = Int64(seconds[0]), (0...59).contains(whole) else {
            return nil
        }
        milliseconds += whole * 1000
        if seconds.count == 2 {
            guard (1...3).contains(seconds[1].count), let fraction = Int64(seconds[1]), fraction >= 0 else {
                return nil
            }
            milliseconds += fraction * [100, 10, 1][seconds[1].count - 1]
        }
        return milliseconds
    }

    private static func padded<Number: BinaryInteger>(_ number: Number, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    // Days since 1970-01-01 and the civil calendar, counted in eras of 400 years that begin on a 1st of March.

    private static func days(year: Int, month: Int, day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func civil(days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
}
