//! What it costs to ask a set of globs about a name it has never seen, and to build the set.
//!
//! Beside each set stand its rivals in the same run: a loop over `Pattern::matches`, the floor for few globs; and one
//! lazy DFA over all of them, where that is still possible. Each bench asserts its answer before it times it.

use codomyrmex_events::{Pattern, PatternSet};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use regex_automata::hybrid::dfa::DFA;
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input, MatchKind, PatternSet as Found};
use std::collections::HashSet;
use std::hint::black_box;
use std::iter::Cycle;
use std::slice::Iter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DOMAINS: [&str; 8] = ["build", "deploy", "agent", "task", "security", "metric", "workflow", "analysis"];
const VERBS: [&str; 8] =
    ["start", "complete", "failed", "progress", "retrying", "queued", "level_changed", "config_update"];

/// Enough that neither the names nor what they touch stay in the first cache.
const NAMES: usize = 16_384;

/// Numbers without order, the same in every run.
struct Scatter(u64);

impl Scatter {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Globs of eight shapes in equal parts, over as many services as there are globs in a tenth of the set.
fn globs(count: usize) -> Vec<Pattern> {
    let mut scatter = Scatter(1);
    let services = (count as u64 / 10).max(10);
    (0..count)
        .map(|nth| {
            let domain = DOMAINS[scatter.below(8) as usize];
            let verb = VERBS[scatter.below(8) as usize];
            let service = scatter.below(services);
            let text = match nth % 8 {
                0 => format!("{domain}.svc{service}.*"),
                1 => format!("*.svc{service}.{verb}"),
                2 => format!("{domain}.*.svc{service}.{verb}"),
                3 => format!("*svc{service}.{verb}*"),
                4 => format!("{domain}.svc{service}.{}?", &verb[..verb.len() - 1]),
                5 => format!("{domain}.svc[{}-9]{service}.*", service % 9),
                6 => format!("{domain}.svc{service}.{verb}"),
                _ => format!("*{service}*.{verb}*{}", nth % 10),
            };
            Pattern::parse(&text).expect("a short pattern")
        })
        .collect()
}

/// Distinct names, of which most come close to some globs and match a few.
fn names(globs: usize) -> Vec<String> {
    let mut scatter = Scatter(2);
    let services = (globs as u64 / 10).max(10);
    let mut seen = HashSet::new();
    let mut nth = 0;
    std::iter::repeat_with(|| {
        nth += 1;
        let domain = DOMAINS[scatter.below(8) as usize];
        let verb = VERBS[scatter.below(8) as usize];
        match nth % 4 {
            0 => format!("{domain}.svc{}.{verb}", scatter.below(services)),
            1 => format!("{domain}.svc{}.{verb}.{nth}", scatter.below(services)),
            2 => format!("{domain}.node{nth}.svc{}.{verb}", scatter.below(services)),
            _ => format!("{domain}.unheard{nth}.{verb}"),
        }
    })
    .filter(|name| seen.insert(name.clone()))
    .take(NAMES)
    .collect()
}

fn one_by_one(globs: &[Pattern], name: &str, out: &mut Vec<u32>) {
    out.extend((0..).zip(globs).filter(|(_, glob)| glob.matches(name)).map(|(at, _)| at));
}

fn in_turn(names: &[String]) -> Cycle<Iter<'_, String>> {
    names.iter().cycle()
}

fn cold(c: &mut Criterion) {
    let mut group = c.benchmark_group("cold");
    for count in [100, 10_000, 100_000] {
        let globs = globs(count);
        let set = PatternSet::build(&globs);
        let names = names(count);
        let (mut out, mut expected, mut hits) = (Vec::new(), Vec::new(), 0);
        for name in &names[..512] {
            out.clear();
            set.matches_into(name, &mut out);
            expected.clear();
            one_by_one(&globs, name, &mut expected);
            assert_eq!(out, expected, "{count} globs on {name}");
            hits += out.len();
        }
        assert!(hits > 50, "the names must match something");

        group.bench_function(BenchmarkId::new("set", count), |b| {
            let mut names = in_turn(&names);
            b.iter(|| {
                out.clear();
                set.matches_into(black_box(names.next().expect("a cycle")), &mut out);
                out.len()
            });
        });
        group.bench_function(BenchmarkId::new("one by one", count), |b| {
            let mut names = in_turn(&names);
            b.iter(|| {
                out.clear();
                one_by_one(&globs, black_box(names.next().expect("a cycle")), &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

/// The rival that needs no choice of pieces: every glob in one lazy DFA. At 10,000 globs its states no longer fit.
fn lazy_dfa(c: &mut Criterion) {
    let globs = globs(100);
    let names = names(100);
    let regexes: Vec<String> = globs.iter().map(|glob| translate(glob.as_str())).collect();
    let dfa = DFA::builder()
        .configure(DFA::config().match_kind(MatchKind::All).cache_capacity(64 << 20))
        .thompson(thompson::Config::new().which_captures(WhichCaptures::None))
        .build_many(&regexes)
        .expect("a hundred globs fit");
    let mut cache = dfa.create_cache();
    let mut found = Found::new(globs.len());
    let mut out = Vec::new();
    for name in &names {
        found.clear();
        let input = Input::new(name).anchored(Anchored::Yes);
        dfa.try_which_overlapping_matches(&mut cache, &input, &mut found).expect("room for the states");
        out.clear();
        one_by_one(&globs, name, &mut out);
        assert!(found.iter().map(|pattern| pattern.as_u32()).eq(out.iter().copied()), "{name}");
    }
    c.bench_function("cold/one lazy DFA, warm/100", |b| {
        let mut names = in_turn(&names);
        b.iter(|| {
            found.clear();
            let input = Input::new(black_box(names.next().expect("a cycle"))).anchored(Anchored::Yes);
            dfa.try_which_overlapping_matches(&mut cache, &input, &mut found).expect("room for the states");
            found.len()
        });
    });
}

fn translate(glob: &str) -> String {
    let special = glob.replace('.', "\\.").replace('?', ".").replace('*', ".*");
    format!("(?s-u:{special})\\z").replace("(?s-u:", "(?s:")
}

/// What a publisher pays on the way: the shapes people write most, each alone in a set of 10,000.
fn shapes(c: &mut Criterion) {
    let mut group = c.benchmark_group("shape");
    type Text = fn(usize) -> String;
    let shapes: [(&str, Text); 6] = [
        ("name", |nth| format!("task.worker{nth}.done")),
        ("a*", |nth| format!("task.worker{nth}.*")),
        ("*a", |nth| format!("*.worker{nth}.done")),
        ("a*b", |nth| format!("task.*worker{nth}.done")),
        ("*a*", |nth| format!("*worker{nth}.*")),
        ("[a]?", |nth| format!("[a-z]{}[0-9]", "?".repeat(nth % 20))),
    ];
    for (shape, text) in shapes {
        let globs: Vec<Pattern> =
            (0..10_000).map(|nth| Pattern::parse(&text(nth)).expect("a short pattern")).collect();
        let set = PatternSet::build(&globs);
        let names: Vec<String> = (0..NAMES).map(|nth| format!("task.worker{nth}.done")).collect();
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        set.matches_into(&names[77], &mut out);
        one_by_one(&globs, &names[77], &mut expected);
        assert_eq!(out, expected, "{shape}");
        group.bench_function(shape, |b| {
            let mut names = in_turn(&names);
            b.iter(|| {
                out.clear();
                set.matches_into(black_box(names.next().expect("a cycle")), &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("build");
    group.sample_size(10);
    for count in [100, 10_000, 100_000] {
        let globs = globs(count);
        assert_eq!(PatternSet::build(&globs).len(), count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("set", count), |b| {
            b.iter(|| PatternSet::build(black_box(&globs)));
        });
    }
    let texts: Vec<String> = globs(10_000).iter().map(Pattern::to_string).collect();
    group.throughput(Throughput::Elements(10_000));
    group.bench_function(BenchmarkId::new("parse", 10_000), |b| {
        b.iter_batched(
            || Vec::with_capacity(texts.len()),
            |mut parsed| {
                parsed.extend(texts.iter().map(|text| Pattern::parse(text)));
                parsed
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, cold, lazy_dfa, shapes, build);
criterion_main!(benches);
