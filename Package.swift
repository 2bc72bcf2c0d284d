// swift-tools-version: 6.3
import PackageDescription

// Every upcoming feature that the language mode after 6 will bring, so that the code needs no second migration:
// https://github.com/swiftlang/swift-evolution (SE-0335, SE-0444, SE-0409, SE-0461, SE-0470, SE-0481).
// `Lifetimes` is the only experimental feature; ByteReader and ByteWriter use it to lend spans (SE-0446).
let common: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .enableUpcomingFeature("ImmutableWeakCaptures"),
    .enableExperimentalFeature("Lifetimes"),
    .treatAllWarnings(as: .error),
]

// Libraries also mark every unsafe expression (SE-0458); tests cannot, because macros expand to unmarked ones.
let library: [SwiftSetting] =
    common + [
        .strictMemorySafety(), .define("INTERNAL_CHECKS", .when(traits: ["InternalChecks"])),
        .define("SAFEGUARD_SWITCHES", .when(traits: ["SafeguardSwitches"])),
    ]

let package = Package(
    name: "Holdfast",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "Holdfast", targets: ["Holdfast"]),
        .library(name: "HoldfastTestKit", targets: ["HoldfastTestKit"]),
        .library(name: "HoldfastCommandProbe", targets: ["HoldfastCommandProbe"]),
        .executable(name: "holdfast", targets: ["HoldfastCommand"]),
        .executable(name: "holdfast-bench", targets: ["HoldfastBench"]),
        .executable(name: "holdfast-bench-opener", targets: ["HoldfastBenchOpener"]),
    ],
    traits: [
        .trait(name: "InternalChecks", description: "Checks every invariant of the state after every record."),
        .trait(
            name: "SafeguardSwitches",
            description: "Lets the environment take one safeguard away, for tools/mutants. Never for a real store."),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        // For the benchmark program only. Neither of the two is built for who depends on the library, though SwiftPM
        // fetches both.
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        .systemLibrary(
            name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"]), .brew(["lz4"])]),
        .target(name: "CHoldfast"),
        .target(name: "HoldfastBytes", dependencies: ["CHoldfast"], swiftSettings: library),
        .target(
            name: "HoldfastLog", dependencies: ["HoldfastBytes", "CHoldfast", "CLZ4"], swiftSettings: library),
        .target(name: "HoldfastEngine", dependencies: ["HoldfastBytes"], swiftSettings: library),
        .target(
            name: "Holdfast", dependencies: ["HoldfastBytes", "HoldfastLog", "HoldfastEngine"],
            swiftSettings: library),
        .target(
            name: "HoldfastWhatIf", dependencies: ["HoldfastBytes", "HoldfastEngine"], swiftSettings: library),
        .target(name: "HoldfastPlot", swiftSettings: library),
        .target(
            name: "HoldfastTestKit",
            dependencies: ["Holdfast", "HoldfastBytes", "HoldfastLog", "HoldfastEngine"],
            swiftSettings: library),
        .executableTarget(
            name: "HoldfastCommand",
            dependencies: [
                "Holdfast", "HoldfastBytes", "HoldfastLog", "HoldfastEngine", "HoldfastWhatIf", "HoldfastPlot",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "tools/holdfast", swiftSettings: common),
        // The command's sources once more, behind a link and without its `main`: the way in for the fuzzers in Fuzz.
        .target(
            name: "HoldfastCommandProbe",
            dependencies: [
                "Holdfast", "HoldfastBytes", "HoldfastLog", "HoldfastEngine", "HoldfastWhatIf", "HoldfastPlot",
                "HoldfastTestKit", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            exclude: ["Command/HoldfastCommand.swift"], swiftSettings: common),
        .target(name: "CBenchPayload", path: "tools/bench/payload"),
        .executableTarget(
            name: "HoldfastBench",
            dependencies: [
                "CBenchPayload", "Holdfast", "HoldfastBytes", "HoldfastEngine", "HoldfastLog", "HoldfastPlot",
                "HoldfastTestKit",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            path: "tools/bench", exclude: ["opener", "payload", "peers"], swiftSettings: common),
        .executableTarget(
            name: "HoldfastBenchOpener", dependencies: ["CBenchPayload", "Holdfast"], path: "tools/bench/opener",
            packageAccess: false, swiftSettings: common),
        .testTarget(
            name: "HoldfastBytesTests", dependencies: ["HoldfastBytes", "CHoldfast"], swiftSettings: common),
        .testTarget(
            name: "HoldfastLogTests", dependencies: ["HoldfastLog", "HoldfastBytes", "HoldfastTestKit"],
            swiftSettings: common),
        .testTarget(
            name: "HoldfastEngineTests", dependencies: ["HoldfastEngine", "HoldfastBytes", "HoldfastTestKit"],
            swiftSettings: common),
        .target(name: "CAllocationCounter", path: "Tests/CAllocationCounter"),
        .testTarget(
            name: "HoldfastTests",
            dependencies: [
                "CAllocationCounter", "Holdfast", "HoldfastBytes", "HoldfastLog", "HoldfastEngine", "HoldfastTestKit",
            ],
            swiftSettings: common),
        .testTarget(
            name: "HoldfastWhatIfTests",
            dependencies: ["HoldfastWhatIf", "HoldfastTestKit", "HoldfastBytes", "HoldfastEngine"],
            swiftSettings: common),
        .testTarget(name: "HoldfastPlotTests", dependencies: ["HoldfastPlot"], swiftSettings: common),
        .testTarget(
            name: "HoldfastTestKitTests",
            dependencies: [
                "HoldfastTestKit", "HoldfastCommandProbe", "Holdfast", "HoldfastLog", "HoldfastEngine", "HoldfastBytes",
            ],
            swiftSettings: common),
        .testTarget(
            name: "HoldfastCommandTests",
            dependencies: ["HoldfastCommand", "Holdfast", "HoldfastWhatIf", "HoldfastTestKit"], swiftSettings: common),
        .testTarget(
            name: "CrashTests",
            dependencies: ["Holdfast", "HoldfastBytes", "HoldfastLog", "HoldfastEngine", "HoldfastTestKit"],
            swiftSettings: common),
        .testTarget(
            name: "SimulationTests", dependencies: ["HoldfastTestKit", "HoldfastLog"], swiftSettings: common),
        // What users see, and no more: the blocks of the README and the pages.
        .testTarget(
            name: "UserTests", dependencies: ["Holdfast", "HoldfastTestKit"], packageAccess: false,
            swiftSettings: common),
        .testTarget(name: "TidyTests", swiftSettings: common),
    ],
    swiftLanguageModes: [.v6]
)
