// What a store has recorded, read from its files alone: beside its owner, or of a copy.

internal import HoldfastBytes
internal import HoldfastEngine
package import HoldfastLog

/// Reads recorded effects from a directory.
package enum EffectArchive {
    /// Returns what is recorded under `scope`, in the order in which it was recorded.
    ///
    /// - Throws: `.notAStore`, `.corrupt`, `.unsupportedFormat`, `.permissionDenied`, `.ioError`.
    package static func read(
        _ directory: String, scope: String, fileSystem: any FileSystem
    ) throws(JobStoreError) -> [RecordedEffect] {
        do throws(LogError) {
            return try LogReader.compute(directory: directory, fileSystem: fileSystem) { (reader) throws(LogError) in
                let records = FileRecords(reader)
                let newest = try records.newestState()
                if let damage = newest.damage { throw damage }
                var effects: [RecordedEffect] = []
                for (sequence, until) in newest.state.effects(scope: scope, after: nil, limit: .max) {
                    guard let record = try records.record(sequence), case .effect(let effect) = record.mutation else {
                        throw LogError(
                            .corrupt, "the effect recorded at \(sequence) is not in the log; use a backup instead")
                    }
                    effects.append(RecordedEffect(effect, sequence, recordedAt: record.time, keptUntil: until))
                }
                return effects.sorted { $0.sequence < $1.sequence }
            }
        } catch {
            throw JobStoreError(error)
        }
    }
}
