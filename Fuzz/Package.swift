// swift-tools-version: 6.3
import PackageDescription

// A package of its own: the sanitizers that fuzzing needs are no business of whoever uses the store. Run tools/fuzz.
// libFuzzer brings `main`, so the targets are parsed as libraries.
let settings: [SwiftSetting] = [.unsafeFlags(["-parse-as-library"])]

func fuzzer(_ name: String, of library: String = "HoldfastTestKit") -> Target {
    .executableTarget(
        name: name, dependencies: [.product(name: library, package: "Holdfast")], swiftSettings: settings)
}

let package = Package(
    name: "HoldfastFuzz",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "Holdfast", path: "..")],
    targets: [
        fuzzer("FuzzRecord"),
        fuzzer("FuzzBitmap"),
        fuzzer("FuzzImage"),
        fuzzer("FuzzFrame"),
        fuzzer("FuzzSegmentHeader"),
        fuzzer("FuzzSeal"),
        fuzzer("FuzzManifest"),
        fuzzer("FuzzCheckpoint"),
        fuzzer("FuzzSegment"),
        fuzzer("FuzzStore"),
        fuzzer("FuzzJSON", of: "HoldfastCommandProbe"),
        fuzzer("FuzzShell", of: "HoldfastCommandProbe"),
        fuzzer("FuzzDump", of: "HoldfastCommandProbe"),
    ],
    swiftLanguageModes: [.v6]
)
