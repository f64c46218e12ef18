//! The rules of the house that a text search can check. ARCHITECTURE.md says why they hold.
//!
//! What is searched is code: comments and `#[cfg(test)]` modules are taken out first.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of the package: its path with `/`, as it is, and its code alone.
struct File {
    path: String,
    text: String,
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files below a folder of the package, sorted.
fn files(folder: &str) -> Vec<File> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "there are no files in {folder}");
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            File { path, code: code(&text), text }
        })
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" {
            collect(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// The library, without the binary.
fn library() -> Vec<File> {
    files("src").into_iter().filter(|file| !file.path.starts_with("src/bin/")).collect()
}

/// A text without comments and test modules. A `//` counts as a comment at a line's beginning or after a space.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            skip_item(&mut lines);
            continue;
        }
        let end = line.find("//").filter(|&at| line[..at].trim_end() != &line[..at] || line[..at].is_empty());
        code.push_str(&line[..end.unwrap_or(line.len())]);
        code.push('\n');
    }
    code
}

/// Passes over the item that an attribute at the left margin belongs to.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    for line in lines {
        let is_over = line == "}" || (line.ends_with(';') && !line.starts_with(' '));
        if is_over {
            return;
        }
    }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|char: char| !char.is_alphanumeric() && char != '_').filter(|word| !word.is_empty())
}

fn is_below(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

/// No code names one of `words`, but in `places`: files, or folders with a closing slash.
fn only_in(files: &[File], forbidden: &[&str], places: &[&str]) {
    for file in files.iter().filter(|file| !is_below(&file.path, places)) {
        for (number, line) in file.code.lines().enumerate() {
            for word in words(line) {
                assert!(!forbidden.contains(&word), "{} names {word} (code line {})", file.path, number + 1);
            }
        }
    }
}

fn below(places: &[&str]) -> Vec<File> {
    let library = library();
    for place in places {
        assert!(library.iter().any(|file| is_below(&file.path, &[place])), "there is no {place}");
    }
    library.into_iter().filter(|file| is_below(&file.path, places)).collect()
}

#[test]
fn the_search_sees_code_and_nothing_else() {
    let text = "use a::B; // Mutex\n// Mutex\n    /// Mutex\nlet url = \"http://x\";\n#[cfg(test)]\nmod tests {\n    Mutex\n}\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod table;\nfn f() {}\n";
    assert_eq!(code(text), "use a::B; \n\n    \nlet url = \"http://x\";\nfn f() {}\n");
    assert_eq!(
        words("std::sync::atomic::{AtomicU64}").collect::<Vec<_>>(),
        ["std", "sync", "atomic", "AtomicU64"]
    );
}

/// Invariant 1.
#[test]
fn matcher_lanes_ring_and_timers_know_no_event() {
    let generic = below(&[
        "src/bounded.rs",
        "src/keyed.rs",
        "src/lanes/",
        "src/matcher/",
        "src/ring.rs",
        "src/timers.rs",
    ]);
    only_in(&generic, &["Event", "EventType", "event"], &[]);
}

/// Invariant 2.
#[test]
fn no_lock_is_named_where_events_pass() {
    let passed = below(&[
        "src/bounded.rs",
        "src/bus/publish.rs",
        "src/clock.rs",
        "src/clock/",
        "src/context.rs",
        "src/context/",
        "src/dispatch/",
        "src/event/",
        "src/ids.rs",
        "src/keyed.rs",
        "src/logger/",
        "src/middleware/",
        "src/lanes/",
        "src/matcher/",
        "src/ring.rs",
        "src/sync/",
    ]);
    // What stands in for a queue under a model checker is not on anybody's way.
    let locks = ["Mutex", "RwLock", "DashMap", "Condvar", "parking_lot"];
    only_in(&passed, &locks, &["src/sync/stand_in.rs"]);
}

/// Invariant 3.
#[test]
fn each_outer_thing_has_one_place() {
    let library = library();
    only_in(&library, &["atomic"], &["src/sync/"]);
    only_in(&library, &["SystemTime", "Instant"], &["src/clock.rs", "src/clock/"]);
    only_in(&library, &["env"], &["src/config.rs"]);
    only_in(&library, &["fs", "net", "print", "println", "eprint", "eprintln"], &[]);
    // An adapter: it has to tell how a connection ended.
    only_in(&library, &["io"], &["src/stream/websocket/"]);
    for file in &library {
        assert!(!file.code.contains("process::"), "{} names std::process", file.path);
    }
}

/// Invariant 4.
#[test]
fn automata_run_when_a_route_is_learned_or_listed() {
    only_in(
        &library(),
        &["route_of", "matches_into"],
        &["src/bus/types.rs", "src/dispatch/names.rs", "src/dispatch/table.rs", "src/matcher/"],
    );
    let table = read("src/dispatch/table.rs");
    let standard = table.split("fn standard_route").nth(1).unwrap().split("fn ").next().unwrap();
    assert!(standard.contains("&self.standard[index]"), "a standard route is looked up, not matched");
}

/// Invariant 5.
#[test]
fn queues_without_a_bound_of_their_own_are_known() {
    let library = library();
    let known = [
        "src/bus/runtime.rs",
        "src/dispatch/chores.rs",
        "src/dispatch/engine.rs",
        "src/dispatch/feed.rs",
        "src/dispatch/later.rs",
        "src/dispatch/slots.rs",
        "src/dispatch/watch.rs",
        "src/ring.rs",
    ];
    only_in(&library, &["SegQueue"], &known);
    let bounded = [
        "src/bus/dead_letters.rs",
        "src/stream/batching/dead.rs",
        "src/stream/batching/pile.rs",
        "src/sync/stand_in.rs",
    ];
    only_in(&library, &["VecDeque"], &bounded);
    only_in(&library, &["channel", "unbounded", "mpsc", "Injector"], &[]);
}

const UNSAFE: [&str; 5] = [
    "src/context.rs",
    "src/dispatch/desk.rs",
    "src/dispatch/slots.rs",
    "src/ring.rs",
    "src/sync/asymmetric.rs",
];

/// Invariant 6.
#[test]
fn unsafe_is_where_the_architecture_says() {
    only_in(&files("src"), &["unsafe", "unsafe_code"], &UNSAFE);
    let architecture = read("ARCHITECTURE.md");
    for path in UNSAFE {
        assert!(words(&code(&read(path))).any(|word| word == "unsafe"), "{path} needs it no more");
        assert!(architecture.contains(&format!("`{path}`")), "ARCHITECTURE.md does not name {path}");
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"deny\""));
}

/// Invariant 7.
#[test]
fn the_library_sets_no_allocator() {
    only_in(&library(), &["global_allocator", "mimalloc"], &[]);
    only_in(&files("examples"), &["global_allocator"], &[]);
}

/// The rows of the house, the lowest first. A file imports its own folder or a lower row.
const ROWS: [&[&str]; 6] = [
    // Atomics are everybody's, the clock's too.
    &["sync"],
    &["bounded", "clock", "ids", "keyed", "quiet", "text"],
    &["config", "context", "event", "lanes", "matcher", "ring", "timers"],
    &["dispatch", "schema"],
    // These two are one place.
    &["bus", "error"],
    &[
        "coordinate",
        "emitter",
        "listener",
        "logger",
        "middleware",
        "mixin",
        "replay",
        "spans",
        "stream",
        "tracing_bridge",
    ],
];

fn row_of(module: &str) -> usize {
    ROWS.iter().position(|row| row.contains(&module)).unwrap_or_else(|| panic!("{module} has no row"))
}

#[test]
fn the_rows_are_the_modules_of_the_library() {
    let lib = read("src/lib.rs");
    let declared: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, ROWS.concat().into_iter().collect());
}

#[test]
fn files_import_only_lower_rows() {
    let mut imports = 0;
    for file in library().iter().filter(|file| file.path != "src/lib.rs") {
        let module = file.path.split('/').nth(1).unwrap().trim_end_matches(".rs");
        for used in file.code.split("crate::").skip(1) {
            for imported in modules_of(used) {
                let is_one_place = [module, imported].iter().all(|name| ["bus", "error"].contains(name));
                let is_allowed = imported == module || is_one_place || row_of(imported) < row_of(module);
                assert!(is_allowed, "{} imports {imported}", file.path);
                imports += 1;
            }
        }
    }
    assert!(imports > 50, "the search found only {imports} imports");
}

/// The modules that stand after a `crate::`: one, or those of a list.
fn modules_of(used: &str) -> Vec<&str> {
    let Some(list) = used.strip_prefix('{') else { return words(used).take(1).collect() };
    let mut depth = 0_usize;
    let mut modules = Vec::new();
    let mut start = 0;
    for (at, char) in list.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                modules.extend(words(&list[start..at]).next());
                start = at + 1;
                if char == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    modules
}

#[test]
fn a_list_of_imports_is_read_to_its_end() {
    assert_eq!(modules_of("{\n  clock::Timestamp,\n  ids::{A, B},\n};\nuse x::y;"), ["clock", "ids"]);
    assert_eq!(modules_of("event::{Event, EventType};"), ["event"]);
}

#[test]
fn the_binary_is_a_user_like_any_other() {
    let binary = files("src/bin");
    let reaches_in = |code: &str| ["#[path", "include!"].iter().any(|way| code.contains(way));
    assert!(reaches_in("#[path = \"../../matcher/mod.rs\"]\nmod matcher;"));
    for file in &binary {
        assert!(!reaches_in(&file.code), "{} reaches into the library", file.path);
    }
    assert!(binary.iter().any(|file| file.code.contains("use codomyrmex_events::")));
}

const LINES_MAX: usize = 350;

#[test]
fn files_are_short_enough_to_be_read() {
    let long: Vec<String> = files("src")
        .iter()
        .map(|file| (file.path.as_str(), lines_outside_tests(&file.text)))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path} has {lines}"))
        .collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines, tests not counted: {}", long.join(", "));
}

fn lines_outside_tests(text: &str) -> usize {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().lines().count()
}

#[test]
fn nothing_is_left_open() {
    let marks = ["TODO", "FIXME", "XXX", "HACK"];
    let macros = ["todo", "unimplemented", "dbg"];
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        for file in files(folder).iter().filter(|file| file.path != "tests/house.rs") {
            for (number, line) in file.text.lines().enumerate() {
                let at = format!("{}:{}", file.path, number + 1);
                assert!(!words(line).any(|word| marks.contains(&word)), "{at}: {line}");
                assert!(!macros.iter().any(|name| line.contains(&format!("{name}!("))), "{at}: {line}");
                let is_run = line.contains("the other tests run it");
                assert!(is_run || !line.contains("#[ignore"), "{at}: a skipped test says that it passed");
            }
        }
    }
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    for file in files("src") {
        assert!(!file.code.contains(".unwrap()"), "{} unwraps; an expect names its invariant", file.path);
    }
}

/// The names in a section of a TOML file.
fn keys(toml: &str, section: &str) -> BTreeSet<String> {
    let section = toml.split(&format!("[{section}]\n")).nth(1).unwrap().split("\n[").next().unwrap();
    let keys = section.lines().filter(|line| !line.starts_with(['#', ' ', ']']));
    keys.filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn the_readme_tells_of_every_feature_and_alias_and_ci_runs_its_test_command() {
    let readme = read("README.md");
    let features = keys(&read("Cargo.toml"), "features");
    assert!(features.contains("schema"));
    for feature in features {
        assert!(readme.contains(&format!("`{feature}`")), "README.md is silent about feature {feature}");
    }
    let aliases = keys(&read(".cargo/config.toml"), "alias");
    assert!(!aliases.is_empty());
    for alias in aliases {
        assert!(readme.contains(&format!("cargo {alias}")), "README.md is silent about cargo {alias}");
    }
    assert!(readme.contains("scripts/test.sh"));
    assert!(read(".ci/run").lines().any(|line| line.ends_with("scripts/test.sh")));
}

#[test]
fn each_line_of_the_changelog_has_its_tag() {
    let changelog = read("CHANGELOG.md");
    let lines: Vec<&str> = changelog.lines().filter(|line| line.starts_with("- ")).collect();
    assert!(!lines.is_empty());
    for line in lines {
        assert!(["- [feat] ", "- [fix] ", "- [perf] "].iter().any(|tag| line.starts_with(tag)), "{line}");
    }
}

#[test]
fn each_example_has_the_output_that_is_expected_of_it() {
    for file in files("examples") {
        let name = file.path.rsplit('/').next().unwrap().trim_end_matches(".rs");
        assert!(!read(&format!("examples/expected/{name}.txt")).is_empty());
    }
}
