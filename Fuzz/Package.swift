// swift-tools-version: 6.3
import PackageDescription

// A package of its own: the sanitizers that fuzzing needs are no business of whoever uses the store. Run tools/fuzz.
// libFuzzer brings `main`, so the targets are parsed as libraries.
let settings: [SwiftSetting] = [.unsafeFlags(["-parse-as-library"])]

func fuzzer(_ name: String) -> Target {
    .executableTarget(
        name: name, dependencies: [.product(name: "HoldfastTestKit", package: "Holdfast")], swiftSettings: settings)
}

let package = Package(
    name: "HoldfastFuzz",
    platforms: [.macOS(.v15)],
    dependencies: [.package(name: "Holdfast", path: "..")],
    targets: [fuzzer("FuzzRecord"), fuzzer("FuzzBitmap"), fuzzer("FuzzImage")],
    swiftLanguageModes: [.v6]
)
