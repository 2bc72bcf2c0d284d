@main struct HoldfastBench { static func main() {} }
