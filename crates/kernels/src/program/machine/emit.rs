//! From a program to machine code.
//!
//! The operations that have a [`Code`](crate::program::Code) are grouped into segments: loops that keep every value in a
//! register. Other operations are calls of their tile functions, between the segments; values that cross from one group to
//! another are stored in tiles of scratch memory. One call of the code runs `m` rows of `n` elements. A row is the longest
//! run of elements that is contiguous, or one repeated element, for every input.

use super::Request;
use super::asm::*;
use super::code_memory::{Installed, install};
use super::schedule::{Group, Schedule};
use super::segment::{Segment, Value};
use crate::program::TileFn;
use crate::simd::{Tile1, Tile2, Tile3};

/// The code of one variant of a program.
pub(super) struct Compiled {
    code: Installed,
    /// The scratch tiles: for each, the bytes of an element.
    pub(super) scratch: Box<[u8]>,
    /// Bytes of working memory besides the tiles.
    pub(super) area: usize,
    /// The offset of a sum's accumulators in the working memory.
    pub(super) sums_at: usize,
    /// Whether the code is a single loop, so that one call can run several groups of rows.
    pub(super) one_loop: bool,
    /// Whether the code calls tile functions.
    pub(super) calls: bool,
}

/// An operand's address, and its distances between rows and between groups of rows, in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) ptr: *mut u8,
    pub(super) step: isize,
    /// The distance from one row after a group's last row to the first row of the next group.
    pub(super) leap: isize,
}

const ENTRY: i32 = size_of::<Entry>() as i32;

impl Compiled {
    /// Runs `groups` of `m` rows of `n` elements; more than one only if there is one loop.
    ///
    /// # Safety
    /// The table has an entry for each input, output and scratch tile, whose elements can be read and written; `area` has
    /// [`Compiled::area`] bytes, aligned to 64.
    pub(super) unsafe fn run(&self, table: *const Entry, groups: usize, m: usize, n: usize, area: *mut u8) {
        type Entrance = unsafe extern "sysv64" fn(*const Entry, usize, usize, *mut u8, usize);
        debug_assert!(groups == 1 || self.one_loop);
        // SAFETY: the code was made for this signature; the rest is the caller's contract.
        unsafe {
            let entrance: Entrance = std::mem::transmute(self.code.start());
            entrance(table, m, n, area, groups);
        }
    }
}

// The code calls tile functions through these, because the calling convention of Rust functions is not specified.

unsafe extern "sysv64" fn call1(f: *const (), x: *const u8, out: *mut u8, n: usize) {
    // SAFETY: the generated code passes a tile function of this type, and operands that fulfil its contract.
    unsafe { std::mem::transmute::<*const (), Tile1>(f)(x, out, n) }
}
unsafe extern "sysv64" fn call2(f: *const (), a: *const u8, b: *const u8, out: *mut u8, n: usize) {
    // SAFETY: the generated code passes a tile function of this type, and operands that fulfil its contract.
    unsafe { std::mem::transmute::<*const (), Tile2>(f)(a, b, out, n) }
}
unsafe extern "sysv64" fn call3(
    f: *const (),
    a: *const u8,
    b: *const u8,
    c: *const u8,
    out: *mut u8,
    n: usize,
) {
    // SAFETY: the generated code passes a tile function of this type, and operands that fulfil its contract.
    unsafe { std::mem::transmute::<*const (), Tile3>(f)(a, b, c, out, n) }
}

pub(super) const TABLE: Gpr = RBX;
pub(super) const AREA: Gpr = RBP;
pub(super) const ROWS: Gpr = R12;
pub(super) const COUNT: Gpr = R13;
/// The registers that a function has to preserve. They keep their values across calls of tile functions.
const SAVED: [Gpr; 6] = [RBX, RBP, R12, R13, R14, R15];
/// Offsets in the working memory: of `m · n`, of the number of groups, and of a segment's pointers.
const PRODUCT: i32 = 0;
pub(super) const GROUPS: i32 = 8;
pub(super) const WORKING: usize = 16;

/// Bytes of the accumulators of a sum.
pub(super) const SUMS: usize = crate::reduce::LANES * 8;

/// The pointer of entry `p` of the table.
pub(super) fn pointer(p: u32) -> Mem {
    Mem::at(TABLE, p as i32 * ENTRY)
}

/// The step of entry `p`.
pub(super) fn step(p: u32) -> Mem {
    Mem::at(TABLE, p as i32 * ENTRY + 8)
}

/// The leap of entry `p`.
pub(super) fn leap(p: u32) -> Mem {
    Mem::at(TABLE, p as i32 * ENTRY + 16)
}

/// Compiles a program; `None` if that is not possible, or if there is no memory for code.
pub(super) fn compile(request: &Request<'_>) -> Option<Compiled> {
    let schedule = Schedule::new(request)?;
    let width = if request.single { Width::Single } else { Width::Whole };
    let most = schedule.groups.iter().map(|g| g.pointers(&schedule, request).len()).max().unwrap_or(0);
    let sums_at = (WORKING + most * 8).next_multiple_of(64);
    let slots_at = sums_at + if request.sum.is_some() { SUMS } else { 0 };
    let mut e = Emitter {
        asm: Asm::new(width),
        request,
        schedule: &schedule,
        values: vec![Value::default(); request.inputs.len() + request.ops.len()],
        prefetched: vec![false; request.inputs.len()],
        sums_at,
        slots_at,
        slots: 0,
    };
    e.function();
    let area = slots_at + e.slots * 64;
    let code = install(&e.asm.finish())?;
    let one_loop = matches!(schedule.groups[..], [Group::Segment { .. }]);
    let calls = schedule.groups.iter().any(|g| matches!(g, Group::Call(_)));
    Some(Compiled { code, one_loop, calls, scratch: schedule.scratch.into(), area, sums_at })
}

pub(super) struct Emitter<'a> {
    pub(super) asm: Asm,
    pub(super) request: &'a Request<'a>,
    pub(super) schedule: &'a Schedule,
    /// The location of each register of the program during the current segment.
    pub(super) values: Vec<Value>,
    /// For each input, whether code that prefetches it is written.
    pub(super) prefetched: Vec<bool>,
    /// The offset of the accumulators in the working memory.
    pub(super) sums_at: usize,
    /// The offset of the slots for spilled registers in the working memory, and the number of slots.
    pub(super) slots_at: usize,
    pub(super) slots: usize,
}

impl Emitter<'_> {
    fn function(&mut self) {
        SAVED.iter().for_each(|&r| self.asm.push(r));
        self.asm.add(RSP, -8); // so that the stack is aligned at calls
        self.asm.copy(TABLE, RDI);
        self.asm.copy(AREA, RCX);
        self.asm.copy(ROWS, RSI);
        self.asm.copy(COUNT, RDX);
        self.asm.multiply(RSI, RDX);
        self.asm.store(Mem::at(AREA, PRODUCT), RSI);
        self.asm.store(Mem::at(AREA, GROUPS), R8);
        let schedule = self.schedule;
        for group in &schedule.groups {
            match group {
                Group::Call(op) => self.call(*op),
                Group::Segment { ops, copies } => {
                    let pointers = group.pointers(schedule, self.request);
                    Segment::new(self, ops, copies, pointers).emit();
                }
            }
        }
        if self.request.stream != 0 {
            self.asm.fence();
        }
        self.asm.end_vectors();
        self.asm.add(RSP, 8);
        SAVED.iter().rev().for_each(|&r| self.asm.pop(r));
        self.asm.ret();
    }

    /// Calls a tile function.
    fn call(&mut self, op: u32) {
        let o = &self.request.ops[op as usize];
        let (trampoline, function) = match o.tile {
            TileFn::One(f) => (call1 as *const (), f as *const ()),
            TileFn::Two(f) => (call2 as *const (), f as *const ()),
            TileFn::Three(f) => (call3 as *const (), f as *const ()),
        };
        let mut arguments = [RSI, RDX, RCX, R8, R9].into_iter();
        let out = self.schedule.entries[self.request.reg(op) as usize];
        for p in o.operands().iter().map(|&x| self.schedule.contiguous(x)).chain([out]) {
            let argument = arguments.next().expect("three operands at most");
            self.asm.load(argument, pointer(p));
        }
        let count = arguments.next().expect("three operands at most");
        self.asm.load(count, Mem::at(AREA, PRODUCT));
        self.asm.set(RDI, function as u64);
        self.asm.set(RAX, trampoline as u64);
        self.asm.call(RAX);
    }
}
