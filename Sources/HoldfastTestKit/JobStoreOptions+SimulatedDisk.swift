// The way from a simulated disk to a store, for tests of programs that use one.

public import Holdfast

extension JobStoreOptions {
    /// Puts the store on a simulated disk. The path that it is opened at is one of that disk and begins with a slash;
    /// the directory above it must be there, and the root is.
    ///
    /// A copy of these options leads to the same disk. After a loss of power give them the image that is left.
    public mutating func use(_ disk: SimulatedFileSystem) { fileSystem = disk }
}
