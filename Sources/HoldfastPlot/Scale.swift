// From values to places on paper, and where ticks go: at round numbers of the axis's unit, a handful of them.

/// How the values of one axis become places.
struct Scale {
    let axis: Chart.Axis
    let low: Double
    let high: Double
    let isLogarithmic: Bool

    /// Less than this ratio between the ends is drawn in equal distances.
    private static let ratioMin = 20.0
    private static let ticksMax = 7

    /// Creates a scale on which `values` and the least end have a place.
    init(_ axis: Chart.Axis, _ values: [Double]) {
        self.axis = axis
        let top = max(values.max() ?? 0, axis.end)
        // Nothing shorter than one of its unit was measured.
        let bottom = max(values.min() ?? 1, 1)
        isLogarithmic = axis.isLogarithmic && top / bottom >= Self.ratioMin
        if isLogarithmic {
            (low, high) = (bottom, top)
        } else {
            low = 0
            let step = Self.step(axis.unit, top)
            high = axis.end > 0 ? max(top, axis.end) : max((top / step).rounded(.up) * step, step)
        }
    }

    /// Returns where `value` lies between the ends: 0 at the low one, 1 at the high one.
    func place(_ value: Double) -> Double {
        if isLogarithmic { return Self.logarithm(max(value, low) / low) / Self.logarithm(high / low) }
        return (value - low) / (high - low)
    }

    /// Places and texts of the ticks.
    var ticks: [(place: Double, text: String)] {
        var values: [Double] = []
        if isLogarithmic {
            values = Self.decades(axis.unit).filter { $0 >= low && $0 <= high }
        } else {
            let step = Self.step(axis.unit, high)
            var value = 0.0
            while value <= high * 1.000_001 {
                values.append(value)
                value += step
            }
        }
        return values.map { (place($0), Self.text($0, axis.unit)) }
    }

    // MARK: - Round numbers

    private static let milliseconds: [Double] =
        [1, 2, 5, 10, 20, 50, 100, 200, 500]
        + [1, 2, 5, 10, 15, 30].map { $0 * 1000 } + [1, 2, 5, 10, 15, 30].map { $0 * 60_000 }
        + [1, 2, 3, 6, 12].map { $0 * 3_600_000 } + [1, 2, 5, 10, 20, 50, 100, 200, 500].map { $0 * 86_400_000 }

    private static func decades(_ unit: Chart.Unit) -> [Double] {
        if unit == .milliseconds {
            return [1, 10, 100, 1000, 10_000, 60_000, 600_000, 3_600_000, 36_000_000, 86_400_000, 864_000_000]
        }
        return (0...18).map { exponent in (0..<exponent).reduce(1.0) { product, _ in product * 10 } }
    }

    private static func step(_ unit: Chart.Unit, _ high: Double) -> Double {
        let least = high / Double(ticksMax)
        if unit == .milliseconds, let step = milliseconds.first(where: { $0 >= least }) { return step }
        let base = unit == .bytes ? 1024.0 : 10
        var power = unit == .share ? 0.01 : 1.0
        while power * base <= least { power *= base }
        let factors: [Double] = unit == .bytes ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] : [1, 2, 5, 10]
        return power * (factors.first { $0 * power >= least } ?? base)
    }

    /// The logarithm to base 2, exact enough for paper; the standard library has none.
    static func logarithm(_ value: Double) -> Double {
        guard value > 0 else { return 0 }
        var fraction = value.significand
        var result = Double(value.exponent)
        var bit = 0.5
        // Each squaring brings out one more bit of the fraction.
        for _ in 0..<30 {
            fraction *= fraction
            if fraction >= 2 {
                fraction /= 2
                result += bit
            }
            bit /= 2
        }
        return result
    }

    /// Returns a value with its unit.
    static func text(_ value: Double, _ unit: Chart.Unit) -> String {
        switch unit {
        case .share: return decimal(value * 100) + " %"
        case .count: return grouped(value)
        case .microseconds:
            if value >= 1000 { return text(value / 1000, .milliseconds) }
            return value == 0 ? "0" : decimal(value) + " µs"
        case .milliseconds:
            let units: [(Double, String)] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")]
            for (length, name) in units where value >= length { return decimal(value / length) + " " + name }
            return value == 0 ? "0" : decimal(value) + " ms"
        case .bytes:
            let units: [(Double, String)] = [(1_073_741_824, "GiB"), (1_048_576, "MiB"), (1024, "KiB")]
            for (size, name) in units where value >= size { return decimal(value / size) + " " + name }
            return value == 0 ? "0" : decimal(value) + " B"
        }
    }

    /// Returns a number with two decimals at most.
    static func decimal(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let (whole, rest) = (hundredths / 100, abs(hundredths % 100))
        if rest == 0 { return "\(whole)" }
        let digits = rest < 10 ? "0\(rest)" : "\(rest)"
        let sign = value < 0 && whole == 0 ? "-" : ""
        return "\(sign)\(whole)." + (digits.hasSuffix("0") ? String(digits.dropLast()) : digits)
    }

    private static func grouped(_ value: Double) -> String {
        guard value == value.rounded(), value < 1e15 else { return decimal(value) }
        let digits = String(Int(value))
        var result = ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index).isMultiple(of: 3) { result.append(",") }
            result.append(digit)
        }
        return result
    }
}
