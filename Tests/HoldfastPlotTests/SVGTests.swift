// That the picture is a picture: well-formed, without anything that runs, and with its lines where the numbers are.

import Testing

@testable import HoldfastPlot

@Suite struct SVGTests {
    private let chart = Chart(
        "Bytes & <blocks>", x: .init("time", .milliseconds), y: .init("bytes", .bytes),
        series: [
            Chart.Series("flat \"line\"", [.init(0, 512), .init(1000, 512)]),
            Chart.Series("step\u{1B}", [.init(0, 0), .init(250, 1024), .init(1000, 2048)], isStepped: true),
        ])

    /// Returns the tags of an XML text that has nothing but tags, text and entities; `nil` when it is not well-formed.
    private func tags(_ text: String) -> [String]? {
        var open: [String] = []
        var tags: [String] = []
        var rest = text[...]
        while let start = rest.firstIndex(of: "<") {
            let before = rest[..<start]
            if before.contains(">") { return nil }
            guard let end = rest[start...].firstIndex(of: ">") else { return nil }
            var tag = rest[rest.index(after: start)..<end]
            rest = rest[rest.index(after: end)...]
            if tag.hasPrefix("/") {
                guard open.popLast() == String(tag.dropFirst()) else { return nil }
                continue
            }
            guard tag.count(where: { $0 == "\"" }).isMultiple(of: 2) else { return nil }
            tags.append(String(tag))
            let isEmpty = tag.hasSuffix("/")
            if isEmpty { tag = tag.dropLast() }
            guard let name = tag.split(separator: " ").first else { return nil }
            if !isEmpty { open.append(String(name)) }
        }
        return open.isEmpty ? tags : nil
    }

    @Test func itIsWellFormedAndHoldsNothingThatRuns() throws {
        let svg = SVGWriter.draw([chart, chart], title: "a < b & \"c\"", subtitle: "'d'\n\u{0}")
        let tags = try #require(self.tags(svg))
        #expect(tags.first?.hasPrefix("svg xmlns=") == true)
        #expect(tags.count { $0.hasPrefix("g ") } == 2)
        for word in ["<script", "href", "onload", "url(", "\u{0}", "\u{1B}"] { #expect(!svg.contains(word)) }
        #expect(svg.contains("a &lt; b &amp; &quot;c&quot;"))
        #expect(svg.contains("prefers-color-scheme:dark"))
    }

    @Test func theCheckNoticesWhatIsNotWellFormed() {
        for text in ["<a><b></a></b>", "<a", "<a x=\">\"></a>", "<a></a></b>", "<a>x>y</a>"] {
            #expect(tags(text) == nil, "\(text)")
        }
    }

    @Test func pointsLieWhereTheNumbersAre() throws {
        let svg = SVGWriter.draw([chart], title: "", subtitle: "")
        // The axes end at 2 KiB and 1 s; the plot is 776 wide from 90 on, 250 high from 308 on upwards.
        #expect(svg.contains("class=\"line s0\" d=\"M90 245.5L866 245.5\""))
        #expect(svg.contains("class=\"line s1\" d=\"M90 308H284V183H866V58\""))
        for text in [">2 KiB<", ">1 KiB<", ">200 ms<", ">1 s<", ">time<", ">bytes<", ">Bytes &amp; &lt;blocks&gt;<"] {
            #expect(svg.contains(text), "\(text)")
        }
    }

    @Test func anEmptyChartIsDrawn() {
        let empty = Chart(
            "nothing", x: .init("x", .count, isLogarithmic: true), y: .init("y", .share, end: 1),
            series: [Chart.Series("none", [])])
        #expect(tags(SVGWriter.draw([empty], title: "t", subtitle: "s")) != nil)
        #expect(tags(SVGWriter.draw([], title: "t", subtitle: "s")) != nil)
    }

    @Test func logarithmicAxesPutEqualRatiosAtEqualDistances() {
        let scale = Scale(.init("x", .milliseconds, isLogarithmic: true), [1, 10_000])
        #expect(scale.isLogarithmic)
        for (value, place) in [(0.0, 0.0), (1, 0), (10, 0.25), (100, 0.5), (10_000, 1)] {
            #expect(abs(scale.place(value) - place) < 1e-6, "\(value)")
        }
        #expect(scale.ticks.map(\.text) == ["1 ms", "10 ms", "100 ms", "1 s", "10 s"])
        #expect(!Scale(.init("x", .milliseconds, isLogarithmic: true), [10, 100]).isLogarithmic)
    }

    @Test(arguments: [
        (0.0, Chart.Unit.bytes, "0"), (1536, .bytes, "1.5 KiB"), (3_145_728, .bytes, "3 MiB"),
        (250, .microseconds, "250 µs"), (1_500, .microseconds, "1.5 ms"), (1_500, .milliseconds, "1.5 s"),
        (90_000, .milliseconds, "1.5 min"), (172_800_000, .milliseconds, "2 d"),
        (0.25, .share, "25 %"), (1_234_567, .count, "1,234,567"), (2.05, .count, "2.05"), (-0.5, .count, "-0.5"),
    ])
    func numbersCarryTheirUnits(value: Double, unit: Chart.Unit, text: String) {
        #expect(Scale.text(value, unit) == text)
    }

    @Test func reducingKeepsThePeaksAndTheEnds() {
        let points = (0..<100_000).map { Chart.Point(Double($0), $0 == 54_321 ? 9000 : Double($0 % 7)) }
        let reduced = Chart.Series("s", points, isStepped: true).reduced(columns: 100).points
        #expect(reduced.count == 101 && reduced.first == Chart.Point(0, 6) && reduced.last == points.last)
        #expect(reduced.filter { $0.y == 9000 }.map { ($0.x / 1000).rounded() } == [54])
        #expect(zip(reduced, reduced.dropFirst()).allSatisfy { $0.x < $1.x })
        #expect(Chart.Series("s", Array(points.prefix(300))).reduced(columns: 100).points.count == 300)
    }

    @Test func whereNothingChangesTheLastValueHolds() {
        var points = (0..<1000).map { Chart.Point(Double($0), 5) }
        points += [Chart.Point(1000, 3), Chart.Point(10_000, 3)]
        let reduced = Chart.Series("s", points, isStepped: true).reduced(columns: 10).points
        #expect(reduced.map(\.y) == [5, 5, 3, 3, 3, 3, 3, 3, 3, 3, 3])
    }
}
