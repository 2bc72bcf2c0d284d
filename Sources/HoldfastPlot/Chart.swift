// What a chart shows: lines over two axes. `SVGWriter` draws it.

/// Lines over two axes.
package struct Chart: Sendable {
    /// What the numbers of an axis are.
    package enum Unit: Sendable { case count, microseconds, milliseconds, bytes, share }

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
    /// Returns a line with `columns` points, if it has many more: each is the highest value of a column of equal width.
    package func reduced(columns: Int) -> Chart.Series {
        guard points.count > 3 * columns, let first = points.first, let last = points.last, last.x > first.x else {
            return self
        }
        func place(_ column: Int) -> Double { first.x + (last.x - first.x) * Double(column) / Double(columns) }
        var kept: [Chart.Point] = []
        var index = 0
        // The value with which a column begins, where it may hold no point at all.
        var value = first.y
        for column in 0..<columns {
            var highest = value
            while index < points.count, points[index].x < place(column + 1) || column == columns - 1 {
                value = points[index].y
                highest = max(highest, value)
                index += 1
            }
            kept.append(Chart.Point(place(column), highest))
        }
        return Chart.Series(name, kept + [last], isStepped: isStepped)
    }
}
