// The repository as the tidy tests see it: the files that people wrote, found from this file's own place.

import Foundation
import Testing

/// The files of the repository.
enum SourceTree {
    /// One file, split into lines.
    struct File: Sendable, CustomTestStringConvertible {
        /// Relative to the repository.
        let path: String
        let lines: [String]

        var text: String { lines.joined(separator: "\n") }
        var testDescription: String { path }

        init(path: String, text: String) {
            self.path = path
            lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        }
    }

    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// What stands at the top of the repository, dot files left out.
    static func topLevel() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: root.path).filter { !$0.hasPrefix(".") }.sorted()
    }

    /// The text files below `folders` whose names end in one of `suffixes`, sorted by path.
    static func files(below folders: [String], suffixes: [String]) throws -> [File] {
        var result: [File] = []
        for folder in folders {
            guard let walk = FileManager.default.enumerator(atPath: root.appending(path: folder).path) else { continue }
            while let name = walk.nextObject() as? String {
                // Build products, wherever a package was built, are nobody's source.
                if name.split(separator: "/").contains(where: { $0.hasPrefix(".") }) { continue }
                guard suffixes.contains(where: name.hasSuffix) else { continue }
                result.append(try file(folder + "/" + name))
            }
        }
        return result.sorted { $0.path < $1.path }
    }

    /// The file at `path`, which is relative to the repository.
    static func file(_ path: String) throws -> File {
        File(path: path, text: try String(contentsOf: root.appending(path: path), encoding: .utf8))
    }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appending(path: path).path)
    }

    /// The scripts in `tools`: files without a suffix.
    static func scripts() throws -> [File] {
        try FileManager.default.contentsOfDirectory(atPath: root.appending(path: "tools").path).sorted().compactMap {
            var isDirectory: ObjCBool = false
            let path = root.appending(path: "tools/" + $0).path
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), !isDirectory.boolValue,
                !$0.hasPrefix("."), !$0.contains(".") || $0.hasSuffix(".sh")
            else { return nil }
            return try file("tools/" + $0)
        }
    }
}
