// The house rules that a machine can check, over every file; and that each of them would notice.

import Testing

@Suite struct SourceRulesTests {
    static let columnsMax = 120
    static let linesMax = 600
    static let linesOfTestsMax = 800

    @Test(arguments: BannedWord.inSources)
    func sourcesDoWithout(_ word: BannedWord) throws {
        for file in try SourceTree.files(below: ["Sources"], suffixes: [".swift"]) {
            let lines = word.lines(of: file)
            #expect(lines.isEmpty, "\(file.path) has \(word) in lines \(lines); use \(word.instead)")
        }
    }

    @Test(arguments: NeededWord.inSources)
    func sourcesExplainWhatTheCompilerCanNotCheck(_ word: NeededWord) throws {
        for file in try SourceTree.files(below: ["Sources"], suffixes: [".swift"]) {
            #expect(!word.isBroken(by: file), "\(file.path): \(word)")
        }
    }

    @Test func noFileNamesAPlaceOfItsAuthor() throws {
        let suffixes = [".swift", ".c", ".h", ".md", ".svg", ".txt"]
        let files =
            try SourceTree.files(below: ["Sources", "Tests", "Fuzz", "tools"], suffixes: suffixes)
            + SourceTree.scripts() + ["Package.swift", "README.md", "CHANGELOG.md"].map(SourceTree.file)
        for file in files {
            for word in BannedWord.absolutePaths {
                let lines = word.lines(of: file)
                #expect(lines.isEmpty, "\(file.path) has \(word) in lines \(lines); use \(word.instead)")
            }
        }
    }

    @Test func linesFitTheirColumns() throws {
        let files =
            try SourceTree.files(below: ["Sources", "Tests", "Fuzz", "tools"], suffixes: [".swift", ".c", ".h"])
            + SourceTree.scripts() + [SourceTree.file("Package.swift")]
        for file in files {
            let long = file.lines.indices.filter { file.lines[$0].count > Self.columnsMax }.map { $0 + 1 }
            #expect(long.isEmpty, "\(file.path) has more than \(Self.columnsMax) columns in lines \(long)")
        }
    }

    @Test func filesCanBeReadInOneGo() throws {
        for file in try SourceTree.files(below: ["Sources", "Fuzz", "tools"], suffixes: [".swift", ".c", ".h"]) {
            #expect(file.lines.count <= Self.linesMax + 1, "\(file.path) has \(file.lines.count) lines; split it")
        }
        for file in try SourceTree.files(below: ["Tests"], suffixes: [".swift"]) {
            let count = file.lines.count
            #expect(count <= Self.linesOfTestsMax + 1, "\(file.path) has \(count) lines; split it")
        }
    }

    @Test func theTopLevelHoldsNothingElse() throws {
        // Package.resolved is the package manager's; it is not kept.
        let allowed: Set = [
            "CHANGELOG.md", "Fuzz", "LICENSE", "Package.resolved", "Package.swift", "README.md", "Sources", "Tests",
            "tools",
        ]
        let strangers = try SourceTree.topLevel().filter { !allowed.contains($0) }
        #expect(strangers.isEmpty, "\(strangers) do not belong at the top of the repository")
    }

    // MARK: - The rules themselves

    @Test(arguments: BannedWord.inSources)
    func aBannedWordIsNoticed(_ word: BannedWord) {
        let file = SourceTree.File(path: "Sample.swift", text: "let a = 1\n    \(word.text)x)\n")
        #expect(word.lines(of: file) == [2])
    }

    @Test(arguments: ["    validate(x)", "Terminal.print(x)", "candiDate(x)", "// a blueprint(s)"])
    func aBannedWordInsideALongerOneIsNot(_ line: String) {
        for word in BannedWord.inSources { #expect(!word.occurs(in: line)) }
    }

    @Test func aBannedWordBehindALongerOneIsNoticed() {
        #expect(BannedWord(text: "print(", instead: "").occurs(in: "Terminal.print(x); print(y)"))
    }

    @Test func anAbsolutePathIsNoticedAndARelativeOneIsNot() {
        let path = "/" + "home/"
        for word in BannedWord.absolutePaths where word.text == path {
            #expect(word.occurs(in: "see \(path)someone/store"))
            #expect(!word.occurs(in: "see at\(path)store"))
        }
    }

    @Test(arguments: NeededWord.inSources)
    func aMissingExplanationIsNoticed(_ word: NeededWord) {
        #expect(word.isBroken(by: .init(path: "Sample.swift", text: "let a = \(word.text) b")))
        #expect(!word.isBroken(by: .init(path: "Sample.swift", text: "// \(word.needs) b\nlet a = \(word.text) b")))
    }
}
