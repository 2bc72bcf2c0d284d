// Draws charts as one SVG, one below the other: text and lines only, no script and nothing from elsewhere, readable on
// light and dark paper. Lines differ in colour, width and dashes, so that they can be told apart without colours.

/// Draws charts.
package enum SVGWriter {
    private static let width = 900.0
    private static let left = 90.0
    private static let right = 34.0
    private static let top = 58.0
    private static let plotHeight = 250.0
    private static let bottom = 58.0
    private static let headHeight = 64.0
    private static var chartHeight: Double { top + plotHeight + bottom }
    private static var plotWidth: Double { width - left - right }

    /// How many points of a line can be told apart from left to right.
    package static let columns = 260

    /// Returns the SVG as text.
    ///
    /// - Parameter subtitle: What was measured, in a line below the title.
    package static func draw(_ charts: [Chart], title: String, subtitle: String) -> String {
        let height = headHeight + Double(charts.count) * chartHeight
        var svg = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(number(width)) \(number(height))" \
            width="\(number(width))" height="\(number(height))" role="img">
            <title>\(escaped(title))</title>
            <desc>\(escaped(subtitle))</desc>
            <style>
            \(style)
            </style>
            <rect class="paper" width="100%" height="100%"/>
            <text class="head" x="\(number(left))" y="32">\(escaped(title))</text>
            <text class="note" x="\(number(left))" y="53">\(escaped(subtitle))</text>

            """
        for (index, chart) in charts.enumerated() {
            svg += "<g transform=\"translate(0 \(number(headHeight + Double(index) * chartHeight)))\">\n"
            svg += draw(chart)
            svg += "</g>\n"
        }
        return svg + "</svg>\n"
    }

    private static func draw(_ chart: Chart) -> String {
        let points = chart.series.flatMap(\.points)
        let (x, y) = (Scale(chart.x, points.map(\.x)), Scale(chart.y, points.map(\.y)))
        let base = top + plotHeight
        var svg = "<text class=\"title\" x=\"\(number(left))\" y=\"24\">\(escaped(chart.title))</text>\n"
        for (place, text) in y.ticks {
            let line = number(base - place * plotHeight)
            svg += "<path class=\"grid\" d=\"M\(number(left)) \(line)H\(number(width - right))\"/>"
            svg += "<text class=\"tick\" text-anchor=\"end\" x=\"\(number(left - 8))\" y=\"\(line)\" dy=\"4\">"
            svg += "\(escaped(text))</text>\n"
        }
        for (place, text) in x.ticks {
            let line = number(left + place * plotWidth)
            svg += "<path class=\"axis\" d=\"M\(line) \(number(base))v5\"/>"
            svg += "<text class=\"tick\" text-anchor=\"middle\" x=\"\(line)\" y=\"\(number(base + 20))\">"
            svg += "\(escaped(text))</text>\n"
        }
        svg += "<path class=\"axis\" d=\"M\(number(left)) \(number(base))H\(number(width - right))\"/>\n"
        svg += "<text class=\"label\" text-anchor=\"middle\" x=\"\(number(left + plotWidth / 2))\" "
        svg += "y=\"\(number(base + 42))\">\(escaped(chart.x.label))</text>\n"
        svg += "<text class=\"label\" text-anchor=\"middle\" transform=\"translate(16 \(number(top + plotHeight / 2))) "
        svg += "rotate(-90)\">\(escaped(chart.y.label))</text>\n"
        for (index, series) in chart.series.enumerated() {
            svg += "<path class=\"line s\(index % styles)\" d=\"\(path(series, x, y))\">"
            svg += "<title>\(escaped(series.name))</title></path>\n"
        }
        return svg + legend(chart)
    }

    private static func path(_ series: Chart.Series, _ x: Scale, _ y: Scale) -> String {
        var path = ""
        for (index, point) in series.points.enumerated() {
            let across = number(left + x.place(point.x) * plotWidth)
            let up = number(top + plotHeight - y.place(point.y) * plotHeight)
            if index == 0 {
                path = "M\(across) \(up)"
            } else {
                path += series.isStepped ? "H\(across)V\(up)" : "L\(across) \(up)"
            }
        }
        return path
    }

    private static func legend(_ chart: Chart) -> String {
        var svg = ""
        var place = left
        for (index, series) in chart.series.enumerated() {
            svg += "<path class=\"line s\(index % styles)\" d=\"M\(number(place)) 42h26\"/>"
            svg += "<text class=\"label\" x=\"\(number(place + 32))\" y=\"46\">\(escaped(series.name))</text>\n"
            // A little more than the text takes.
            place += 58 + 7 * Double(series.name.count)
        }
        return svg
    }

    private static let styles = 3
    private static let style = """
        text{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;fill:#1f2328}
        .paper{fill:#ffffff}
        .head{font-size:19px;font-weight:600}
        .title{font-size:15px;font-weight:600}
        .note,.tick,.label{font-size:12.5px}
        .note,.tick{fill:#59636e}
        .grid{stroke:#d8dee4;stroke-width:1;fill:none}
        .axis{stroke:#59636e;stroke-width:1;fill:none}
        .line{fill:none;stroke-linejoin:round}
        .s0{stroke:#8c959f;stroke-width:4}
        .s1{stroke:#0969da;stroke-width:2;stroke-dasharray:7 4}
        .s2{stroke:#d1440c;stroke-width:2}
        @media (prefers-color-scheme:dark){
        text{fill:#e6edf3}
        .paper{fill:#0d1117}
        .note,.tick{fill:#9198a1}
        .grid{stroke:#2a313c}
        .axis{stroke:#9198a1}
        .s0{stroke:#6e7681}
        .s1{stroke:#58a6ff}
        .s2{stroke:#ff8f5c}
        }
        """

    /// Returns a place with one decimal, which is all that can be seen.
    private static func number(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        let sign = tenths < 0 ? "-" : ""
        let (whole, rest) = (abs(tenths) / 10, abs(tenths) % 10)
        return rest == 0 ? "\(sign)\(whole)" : "\(sign)\(whole).\(rest)"
    }

    /// Returns text that stands for itself in XML; what XML has no place for becomes a replacement character.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "\t", "\n", "\r": result += " "
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{FFFE}", "\u{FFFF}": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
