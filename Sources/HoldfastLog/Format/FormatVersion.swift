// What every file of a store says about its format: believed once the checksum over it is good, and before anything
// else.

package import HoldfastBytes

/// A format version with the features a file uses.
package struct FormatVersion: Hashable, Sendable {
    package var major: UInt16 = Self.currentMajor
    package var minor: UInt16 = 0
    /// Features a reader may ignore.
    package var compatible: UInt32 = 0
    /// Features a reader may ignore as long as it does not write.
    package var readOnlyCompatible: UInt32 = 0
    /// Features that must be known.
    package var incompatible: UInt32 = 0

    package static let currentMajor: UInt16 = 1
    package static let byteCount = 16
    /// Of manifests: the audit chain's values stand behind everything else.
    package static let auditFeature: UInt32 = 1

    package init() {}

    package func encode(into writer: inout ByteWriter) {
        writer.append(littleEndian: major)
        writer.append(littleEndian: minor)
        writer.append(littleEndian: compatible)
        writer.append(littleEndian: readOnlyCompatible)
        writer.append(littleEndian: incompatible)
    }

    package init(from reader: inout ByteReader) throws(ByteReaderError) {
        major = try reader.u16()
        minor = try reader.u16()
        compatible = try reader.u32()
        readOnlyCompatible = try reader.u32()
        incompatible = try reader.u32()
    }

    /// Refuses what this version of the library must not read or write.
    ///
    /// - Parameter known: The incompatible features that a file of this kind may have.
    package func check(file: String, forWriting: Bool, known: UInt32 = 0) throws(LogError) {
        if major != Self.currentMajor || incompatible & ~known != 0, Safeguard.formatVersion.isOn {
            throw LogError(
                .unsupportedFormat,
                "\(file) has format \(major).\(minor) with features \(incompatible); this library reads format "
                    + "\(Self.currentMajor) without further features: use a newer version of Holdfast",
                file: file)
        }
        if forWriting, readOnlyCompatible != 0, Safeguard.writerFeatures.isOn {
            throw LogError(
                .unsupportedFormat,
                "\(file) uses features \(readOnlyCompatible) that this version may read but not write: "
                    + "use a newer version of Holdfast",
                file: file)
        }
    }
}
