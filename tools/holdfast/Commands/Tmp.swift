import ArgumentParser
import ArgumentParser
struct JobCommand: ParsableCommand { @OptionGroup var store: StoreArgument }
struct JobsCommand: ParsableCommand { @OptionGroup var store: StoreArgument }
struct StatCommand: ParsableCommand { @OptionGroup var store: StoreArgument }
struct CompactCommand: ParsableCommand { @OptionGroup var store: StoreArgument }
