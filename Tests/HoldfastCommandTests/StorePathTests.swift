import ArgumentParser
import Testing

@testable import HoldfastCommand

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What commands do at a path where no store is: they say so, and make none.
@Suite(.timeLimit(.minutes(10))) struct StorePathTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private static let needStore: [[String]] = [
        ["work", "-q", "q", "--", "true"], ["checkpoint"], ["pause", "-q", "q"], ["resume", "-q", "q"],
        ["redrive", "-q", "q"], ["cancel", "1"], ["purge", "-q", "q", "--yes"], ["compact"], ["stat"], ["verify"],
        ["dump"], ["job", "1"], ["jobs"],
    ]

    /// Runs a command in this process and returns what it is refused with.
    private func refusal(_ arguments: [String], at path: String) throws -> CommandFailure? {
        do {
            var command = try HoldfastCommand.parseAsRoot([arguments[0], path] + arguments.dropFirst())
            try command.run()
            return nil
        } catch let failure as CommandFailure {
            return failure
        }
    }

    @Test(arguments: needStore) func aMistypedPathIsRefusedAndCreatesNothing(_ arguments: [String]) throws {
        let failure = try #require(try refusal(arguments, at: directory.store))
        #expect(failure.exitCode == 2)
        #expect(failure.message.hasPrefix("there is no store at \(directory.store); "))
        #expect(failure.message.contains("holdfast enqueue \(directory.store)"))
        #expect(access(directory.store, F_OK) != 0)
    }

    @Test(arguments: needStore) func anEmptyDirectoryIsNoStore(_ arguments: [String]) throws {
        mkdir(directory.store, 0o755)
        let failure = try #require(try refusal(arguments, at: directory.store))
        #expect(failure.exitCode == 2 && failure.message.contains("empty directory"))
        #expect(access(directory.store + "/LOCK", F_OK) != 0)
    }

    @Test(arguments: needStore) func aFileIsNoStore(_ arguments: [String]) throws {
        try write("hello", to: directory.path + "/plain")
        let failure = try #require(try refusal(arguments, at: directory.path + "/plain"))
        #expect(failure.exitCode == 2)
        let expected = arguments[0] == "dump" ? "neither a store's directory nor a segment file" : "is a file"
        #expect(failure.message.contains(expected), "\(failure.message)")
    }

    @Test func aDamagedSegmentFileIsDamage() throws {
        try write("hello", to: directory.path + "/00000001.jnl")
        #expect(try refusal(["dump"], at: directory.path + "/00000001.jnl")?.exitCode == 4)
    }

    @Test func otherDirectoriesAreNamedForWhatTheyAre() throws {
        try write("hello", to: directory.path + "/plain")
        #expect(try refusal(["stat"], at: directory.path)?.message.contains("other things") == true)
        mkdir(directory.store, 0o755)
        mkdir(directory.store + "/segments", 0o755)
        #expect(try refusal(["stat"], at: directory.store)?.message.contains("empty directory") == true)
        try write("x", to: directory.store + "/segments/a.seg")
        #expect(try refusal(["verify"], at: directory.store)?.message.contains("restore MANIFEST") == true)
        #expect(try refusal(["stat"], at: directory.path + "/plain/store")?.message.contains("no store at") == true)
    }

    @Test func aMissingParentIsNamedWithHowToMakeIt() throws {
        let parent = directory.path + "/a/b"
        let failure = try #require(try refusal(["enqueue", "-q", "q", "x"], at: parent + "/store"))
        #expect(failure.exitCode == 2 && failure.message.hasSuffix("mkdir -p \(parent)"))
        try write("hello", to: directory.path + "/plain")
        let below = try #require(try refusal(["enqueue", "-q", "q", "x"], at: directory.path + "/plain/store"))
        #expect(below.message.contains("plain is not a directory"), "\(below.message)")
    }

    private func write(_ text: String, to path: String) throws {
        let number = open(path, O_CREAT | O_WRONLY, 0o644)
        try #require(number >= 0)
        let file = Descriptor(number: number)
        defer { file.close() }
        try file.writeAll([UInt8](text.utf8))
    }
}
