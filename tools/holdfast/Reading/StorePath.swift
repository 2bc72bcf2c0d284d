// What stands at the path that a command was given, before anything is opened there: a mistyped path must neither
// become a store nor be answered with what the system says about files inside it.

import HoldfastLog

/// What is at a path where a store is expected.
enum StorePath: Hashable {
    case store
    case missing
    /// A directory without files, or the remains of a creation that was interrupted.
    case empty
    case file
    /// A directory with files of a store, but without the one that names them.
    case withoutManifest
    /// A directory with other things.
    case foreign

    /// Looks at `path`.
    static func examine(_ path: String) throws(CommandFailure) -> StorePath {
        let layout = StoreLayout(root: path)
        let files = POSIXFileSystem()
        do throws(IOFailure) {
            guard let status = try files.status(of: path) else { return .missing }
            guard status.kind == .directory else { return .file }
            let names = try files.list(path)
            if names.contains(layout.relative(layout.manifest)) { return .store }
            let directories = layout.directories.map(layout.relative)
            let own = Set(
                directories + [layout.lock, layout.manifestTemporary, layout.reserve].map(layout.relative)
                    + [StoreSocket.name])
            guard own.isSuperset(of: names) else { return .foreign }
            for name in names where directories.contains(name) {
                if try !files.list("\(path)/\(name)").isEmpty { return .withoutManifest }
            }
            return .empty
        } catch {
            if error.kind == .notDirectory || error.kind == .notFound { return .missing }
            throw CommandFailure(
                "could not look at \(path): \(error.reason); check the path, its owner and its mode",
                exitCode: CommandFailure.notOpenedCode)
        }
    }

    /// Refuses a path without a store.
    static func requireStore(_ path: String) throws(CommandFailure) {
        let sentence: String
        let create = "check the path, or create a store: holdfast enqueue \(path) --queue NAME PAYLOAD"
        switch try examine(path) {
        case .store: return
        case .missing: sentence = "there is no store at \(path); \(create)"
        case .empty: sentence = "\(path) is an empty directory and no store; \(create)"
        case .file: sentence = "\(path) is a file and no store, which is a directory; check the path"
        case .withoutManifest:
            sentence =
                "\(path) holds parts of a store but no MANIFEST; restore MANIFEST from a backup, or run: "
                + "holdfast salvage \(path) NEW"
        case .foreign: sentence = "\(path) is a directory with other things and no store; check the path"
        }
        throw CommandFailure(sentence, exitCode: CommandFailure.notOpenedCode)
    }

    /// Refuses a place for a new store that is taken, or inside the store that it is made from.
    static func requireFree(_ target: String, outside source: String) throws(CommandFailure) {
        let sentence: String
        if target == source || target.hasPrefix(source.hasSuffix("/") ? source : source + "/") {
            sentence = "\(target) is inside \(source), which is not to be changed; choose another place"
        } else if let reason = try reasonAgainstCreating(target) {
            sentence = reason
        } else {
            switch try examine(target) {
            case .missing, .empty: return
            default: sentence = "\(target) is not empty; choose a path that does not exist yet"
            }
        }
        throw CommandFailure(sentence, exitCode: CommandFailure.notOpenedCode)
    }

    /// Says why no store can be created at `path`, if only because there is nothing that it could be created in.
    static func reasonAgainstCreating(_ path: String) throws(CommandFailure) -> String? {
        guard try examine(path) == .missing else { return nil }
        let parent = StoreLayout(root: path).parent
        do throws(IOFailure) {
            switch try POSIXFileSystem().status(of: parent)?.kind {
            case .directory: return nil
            case nil: return "the directory \(parent) does not exist; make it first: mkdir -p \(parent)"
            default: return "\(parent) is not a directory; check the path"
            }
        } catch {
            if error.kind == .notDirectory { return "a part of \(parent) is a file; check the path" }
            return nil
        }
    }
}
