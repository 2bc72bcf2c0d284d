import HoldfastTestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

@Suite(.timeLimit(.minutes(10))) struct WatchdogTests {
    @Test func aRunThatHangsEndsTheProcess() async {
        await #expect(processExitsWith: .exitCode(7)) {
            try Watchdog.watching(millisecondsMax: 20, onHang: { _ in exit(7) }) { watchdog in
                watchdog.begin("a run without end")
                while true { pause() }
            }
        }
    }

    @Test func runsThatEndAreLeftAlone() throws {
        let sum = try Watchdog.watching(millisecondsMax: 120_000, onHang: { fatalError($0) }) { watchdog in
            (1...100).reduce(0) { sum, number in
                watchdog.begin("\(number)")
                return sum + number
            }
        }
        #expect(sum == 5_050)
    }
}
