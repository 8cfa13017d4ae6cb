//! Random programs over the whole catalogue, in eight modes, each planned as a whole and verified, against the same
//! graph evaluated one node at a time.
//!
//! `COVECTOR_FUZZ=n` runs `n` small programs and an eighth as many large ones, and prints how far it is;
//! `COVECTOR_FUZZ_SEED=s` starts with seed `s`.

#![allow(clippy::print_stdout, reason = "a long run reports how far it is")]

mod programs;

use covector_core::catalog::{Entry, entries};
use covector_kernels::rows::divide_more;
use programs::check::{Outcome, check, check_threads, digests};
use programs::generate::{Size, program};
use programs::modes::{MODES, Mode};
use programs::shrink::shrunk;
use programs::{Item, Program, What};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::time::Instant;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seeds of a run: so many, if the environment does not say otherwise.
fn seeds(size: Size, few: u64) -> Range<u64> {
    let part = if size == Size::Small { 1 } else { 8 };
    let from = number("COVECTOR_FUZZ_SEED").unwrap_or(0);
    from..from + number("COVECTOR_FUZZ").map_or(few, |n: u64| n.div_ceil(part))
}

/// Ends the test with the smallest program that fails.
fn fail(p: &Program, entries: &[Entry], said: &str, again: &dyn Fn(&Program) -> Outcome) -> ! {
    let small = shrunk(p, entries, &|p| matches!(again(p), Outcome::Fails(_)));
    let now = match again(&small) {
        Outcome::Fails(now) => now,
        other => format!("{other:?}"),
    };
    panic!(
        "seed {}: {said}\nof {} steps; shrunk to {}:\n{now}\n{}",
        p.seed,
        p.steps(),
        small.steps(),
        small.listing(entries)
    );
}

/// Small arrays are divided into several blocks and parts, as large ones are.
const DIVISION: usize = 2048;
/// Numbers of threads that give the same bits.
const THREADS: [usize; 4] = [1, 2, 5, 8];

/// How often each mode ran, and what it compared.
#[derive(Default)]
struct Tally {
    ran: BTreeMap<Mode, usize>,
    refused: BTreeMap<(Mode, String), usize>,
    arrays: usize,
    finite: usize,
    exact: usize,
    used: BTreeSet<usize>,
    entries: usize,
    steps: usize,
}

impl Tally {
    fn note(&mut self, mode: Mode, outcome: &Outcome) {
        match outcome {
            Outcome::Agrees { arrays, finite, exact } => {
                *self.ran.entry(mode).or_default() += 1;
                self.arrays += arrays;
                self.finite += finite;
                self.exact += exact;
            }
            Outcome::Refused(why) => {
                let why: String = why.chars().take(60).collect();
                *self.refused.entry((mode, why)).or_default() += 1;
            }
            Outcome::Fails(_) => {}
        }
    }

    fn uses(&mut self, p: &Program) {
        self.steps += p.steps();
        for item in &p.items {
            if let Item::Step { what: What::Entry(k), .. } = item {
                self.used.insert(*k);
            }
        }
    }
}

fn run(size: Size, modes: &[Mode], few: u64) -> Tally {
    let entries = entries();
    let (start, long) = (Instant::now(), number("COVECTOR_FUZZ").is_some());
    let mut tally = Tally { entries: entries.len(), ..Tally::default() };
    let all = seeds(size, few);
    for seed in all.clone() {
        let p = program(&entries, seed, size);
        tally.uses(&p);
        for &mode in modes {
            let outcome = check(&p, &entries, mode);
            if let Outcome::Fails(said) = &outcome {
                fail(&p, &entries, said, &|p| check(p, &entries, mode));
            }
            tally.note(mode, &outcome);
        }
        if seed.is_multiple_of(if size == Size::Small { 4 } else { 1 })
            && let Outcome::Fails(said) = check_threads(&p, &entries, &THREADS)
        {
            fail(&p, &entries, &said, &|p| check_threads(p, &entries, &THREADS));
        }
        let done = seed + 1 - all.start;
        if long && (done.is_multiple_of(100) || seed + 1 == all.end) {
            println!("{size:?}: {done} programs, {:.0} s", start.elapsed().as_secs_f64());
        }
    }
    println!(
        "{size:?}: {} programs of {} steps, {} of {} entries, {} arrays, {} finite, {} to the bit; ran {:?}; refused {:?}; {:.1} s",
        all.count(),
        tally.steps,
        tally.used.len(),
        entries.len(),
        tally.arrays,
        tally.finite,
        tally.exact,
        tally.ran,
        tally.refused,
        start.elapsed().as_secs_f64()
    );
    tally
}

#[test]
fn small_programs_agree_in_every_mode_and_do_not_depend_on_threads() {
    divide_more(DIVISION);
    let tally = run(Size::Small, &MODES, 800);
    assert_eq!(tally.ran.len(), MODES.len(), "a mode never ran: {:?}", tally.refused);
    assert!(20 * tally.used.len() >= 19 * tally.entries, "{} entries ran", tally.used.len());
    assert!(3 * tally.exact > tally.arrays && 10 * tally.finite > 9 * tally.arrays);
}

#[test]
fn large_programs_agree_and_do_not_depend_on_threads() {
    run(Size::Large, &[Mode::Forward, Mode::Compiled, Mode::Gradient], 100);
}

/// The environments in which programs have the same bits: an instruction set that the machine lacks is the next narrower
/// one. Products and convolutions add in another order for registers of another width, so that values that depend on one
/// are only the same with and without machine code.
const SETTINGS: [(&str, &str); 4] = [
    ("COVECTOR_MACHINE_CODE", "never"),
    ("COVECTOR_MACHINE_CODE", "at-once"),
    (SIMD, "avx2"),
    (SIMD, "portable"),
];
const SIMD: &str = "COVECTOR_SIMD";

#[test]
fn machine_code_and_instruction_sets_give_the_same_bits() {
    let folder = std::env::temp_dir().join(format!("covector-programs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let digests = |setting: Option<(&str, &str)>| {
        let file = folder
            .join(setting.map_or("plain".to_owned(), |(variable, value)| format!("{variable}-{value}")));
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "digests_for_another_process", "--ignored", "--quiet"]);
        process.env(FILE, &file).stdout(Stdio::null());
        for (variable, _) in SETTINGS {
            process.env_remove(variable);
        }
        process.envs(setting);
        assert!(process.status().unwrap().success(), "{setting:?}");
        std::fs::read_to_string(&file).unwrap()
    };
    let plain = digests(None);
    for setting in SETTINGS {
        let found = digests(Some(setting));
        let compared = |line: &&str| setting.0 != SIMD || !line.contains(OF_PRODUCTS);
        let (plain, found) = (plain.lines().filter(compared), found.lines().filter(compared));
        assert!(plain.clone().count() > 100 && plain.clone().count() == found.clone().count(), "{setting:?}");
        for (a, b) in plain.zip(found) {
            assert_eq!(a, b, "{setting:?}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

const FILE: &str = "COVECTOR_FUZZ_FILE";
const OF_PRODUCTS: &str = " of products";

#[test]
#[ignore = "run by machine_code_and_instruction_sets_give_the_same_bits, in processes of its own"]
fn digests_for_another_process() {
    let entries = entries();
    let mut text = String::new();
    for (size, few) in [(Size::Small, 60), (Size::Large, 10)] {
        divide_more(if size == Size::Small { DIVISION } else { 1 });
        for seed in seeds(size, few) {
            let p = program(&entries, seed, size);
            for (k, (digest, products)) in digests(&p, &entries).unwrap().into_iter().enumerate() {
                let of = if products { OF_PRODUCTS } else { "" };
                text += &format!("{size:?} program {seed}, output {k}{of}: {digest}\n");
            }
        }
    }
    std::fs::write(std::env::var_os(FILE).expect("the caller names a file"), text).unwrap();
}
