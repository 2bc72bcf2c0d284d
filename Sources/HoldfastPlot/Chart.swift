// What a chart shows: lines over two axes. `SVGWriter` draws it.

/// Lines over two axes.
package struct Chart: Sendable {
    /// What the numbers of an axis are.
    package enum Unit: Sendable { case count, milliseconds, bytes, share }

    /// One axis. It begins at 0, or where the first point is when it is logarithmic.
    package struct Axis: Sendable {
        /// What is measured; the unit is at the ticks.
        package var label: String
        /// The unit.
        package var unit: Unit
        /// Whether equal distances are equal ratios, where the points lie far enough apart for that.
        package var isLogarithmic: Bool
        /// The least that the end of the axis may be.
        package var end: Double

        /// Creates an axis.
        package init(_ label: String, _ unit: Unit, isLogarithmic: Bool = false, end: Double = 0) {
            (self.label, self.unit, self.isLogarithmic, self.end) = (label, unit, isLogarithmic, end)
        }
    }

    /// A place on a line.
    package struct Point: Hashable, Sendable {
        /// Along.
        package var x: Double
        /// Up.
        package var y: Double

        /// Creates a point.
        package init(_ x: Double, _ y: Double) { (self.x, self.y) = (x, y) }
    }

    /// One line. Its place in the list chooses colour and stroke.
    package struct Series: Sendable {
        /// What it is, for the legend.
        package var name: String
        /// In the order of `x`.
        package var points: [Point]
        /// Whether a value holds until the next point.
        package var isStepped: Bool

        /// Creates a line.
        package init(_ name: String, _ points: [Point], isStepped: Bool = false) {
            (self.name, self.points, self.isStepped) = (name, points, isStepped)
        }
    }

    /// Above the chart.
    package var title: String
    /// Across.
    package var x: Axis
    /// Up.
    package var y: Axis
    /// The lines, the most important last: it lies on top.
    package var series: [Series]

    /// Creates a chart.
    package init(_ title: String, x: Axis, y: Axis, series: [Series]) {
        (self.title, self.x, self.y, self.series) = (title, x, y, series)
    }
}

extension Chart.Series {
    /// Returns a line with fewer points that looks the same when drawn `columns` wide: of each column its first, its
    /// highest and its last point stay.
    package func reduced(columns: Int) -> Chart.Series {
        guard points.count > 3 * columns, let first = points.first, let last = points.last, last.x > first.x else {
            return self
        }
        var kept: [Chart.Point] = []
        var start = 0
        while start < points.count {
            func column(_ index: Int) -> Int {
                Int((points[index].x - first.x) / (last.x - first.x) * Double(columns))
            }
            var end = start
            var highest = start
            while end + 1 < points.count, column(end + 1) == column(start) {
                end += 1
                if points[end].y > points[highest].y { highest = end }
            }
            for index in Set([start, highest, end]).sorted() { kept.append(points[index]) }
            start = end + 1
        }
        return Chart.Series(name, kept, isStepped: isStepped)
    }
}
