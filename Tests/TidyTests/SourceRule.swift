// What the sources may not hold. A rule is a few characters and where they count; it is as simple as it looks, so that
// whoever breaks one sees at once why.

/// A word that is banned.
struct BannedWord: Sendable, CustomStringConvertible {
    /// What is looked for.
    let text: String
    /// What to do instead.
    let instead: String
    /// Whether it only counts where no name reaches up to it: `Date(` but not `update(` or `clock.print(`.
    var standsAlone = true

    var description: String { text }

    /// Returns the numbers of the lines that hold it, counted from 1.
    func lines(of file: SourceTree.File) -> [Int] {
        file.lines.indices.filter { occurs(in: file.lines[$0]) }.map { $0 + 1 }
    }

    func occurs(in line: String) -> Bool {
        var rest = line[...]
        while let match = rest.firstRange(of: text) {
            guard standsAlone, match.lowerBound > line.startIndex else { return true }
            let before = line[line.index(before: match.lowerBound)]
            if !before.isLetter && !before.isNumber && !"_.)}".contains(before) { return true }
            rest = rest[match.upperBound...]
        }
        return false
    }

    /// What the libraries must do without.
    static let inSources = [
        BannedWord(text: "import Foundation", instead: "the standard library: start-up time and memory are the user's"),
        BannedWord(text: "Date(", instead: "Timestamp, which enters as data"),
        BannedWord(text: "print(", instead: "values and errors: a library has no standard output"),
        BannedWord(text: "Task.sleep", instead: "a wait that something ends"),
        BannedWord(text: "usleep", instead: "a wait that something ends"),
        BannedWord(text: "try!", instead: "a typed error"),
        BannedWord(text: "as!", instead: "a conditional cast, or a type that needs none"),
        BannedWord(text: "FIXME", instead: "the repair"),
        BannedWord(text: "TODO", instead: "the work"),
        BannedWord(text: "fatalError(", instead: "preconditionFailure for a programmer's error, else a typed error"),
    ]

    /// Where the code happened to be written is nobody's business.
    static let absolutePaths = ["work", "home", "root"].map {
        BannedWord(text: "/" + $0 + "/", instead: "a path relative to the repository, or one that is given")
    }
}

/// A word that asks for another in the same file.
struct NeededWord: Sendable, CustomStringConvertible {
    let text: String
    let needs: String

    var description: String { "\(text) needs \(needs)" }

    func isBroken(by file: SourceTree.File) -> Bool {
        file.text.contains(text) && !file.text.contains(needs)
    }

    static let inSources = [
        NeededWord(text: "unsafe ", needs: "SAFETY:"),
        NeededWord(text: "@unchecked Sendable", needs: "SENDABLE"),
    ]
}
