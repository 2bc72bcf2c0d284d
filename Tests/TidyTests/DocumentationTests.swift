// The pages point at things that exist.

import Testing

@Suite struct DocumentationTests {
    static let catalog = "Sources/Holdfast/Holdfast.docc"

    @Test func linksBetweenPagesLeadSomewhere() throws {
        let pages = try SourceTree.files(below: [Self.catalog], suffixes: [".md"])
        let names = Set(pages.map { String($0.path.dropFirst(Self.catalog.count + 1).dropLast(3)) })
        for page in pages {
            for match in page.text.matches(of: #/<doc:([A-Za-z]+)>/#) {
                #expect(names.contains(String(match.1)), "\(page.path) links to \(match.1), which is no page")
            }
        }
    }

    @Test func everyPageIsReachedFromTheFirst() throws {
        let first = try SourceTree.file(Self.catalog + "/Holdfast.md")
        let linked = Set(first.text.matches(of: #/<doc:([A-Za-z]+)>/#).map { String($0.1) })
        for page in try SourceTree.files(below: [Self.catalog], suffixes: [".md"]) where page.path != first.path {
            let name = String(page.path.dropFirst(Self.catalog.count + 1).dropLast(3))
            #expect(linked.contains(name), "\(first.path) does not list \(name)")
        }
    }

    @Test(arguments: ["ShellDispatcher.swift", "ShellDispatcher+Cursors.swift"])
    func everyOperationOfTheLineProtocolIsOnItsPage(_ file: String) throws {
        let page = try SourceTree.file(Self.catalog + "/LineProtocol.md").text
        let source = try SourceTree.file("tools/holdfast/Shell/" + file).text
        let cases = source.matches(of: #/case ((?:"[a-z_]+"(?:, )?)+)/#)
        let names = cases.flatMap { $0.1.matches(of: #/"([a-z_]+)"/#).map { String($0.1) } }
        #expect(names.count > 4)
        for name in names { #expect(page.contains("`\(name)`") || page.contains("\(name),"), "\(name) is missing") }
    }

    @Test(arguments: ["README.md", "CHANGELOG.md"])
    func linksIntoTheRepositoryLeadSomewhere(_ path: String) throws {
        for match in try SourceTree.file(path).text.matches(of: #/\]\(([^)#:]+)\)/#) {
            #expect(SourceTree.exists(String(match.1)), "\(path) links to \(match.1), which does not exist")
        }
    }

    @Test func theCommandsThatTheReadmeNamesExist() throws {
        for match in try SourceTree.file("README.md").text.matches(of: #/\./(tools/[a-z]+)/#) {
            #expect(SourceTree.exists(String(match.1)), "README.md names \(match.1), which does not exist")
        }
    }
}
