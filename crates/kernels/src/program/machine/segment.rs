//! One loop of machine code: loads, operations and stores of a group, with registers assigned as it is written.
//!
//! The code is straight-line and all uses are known, so when registers run out, the value with the latest next use is spilled
//! (Belady's rule). A value that is in memory already need not be stored again.

use super::Access;
use super::asm::*;
use super::emit::{AREA, COUNT, Emitter, GROUPS, ROWS, WORKING, leap, pointer, step};
use super::schedule::NOWHERE;
use crate::dtype::Dtype;
use crate::program::{Code, Reg};
use crate::reduce::LANES;

const INDEX: Gpr = R14;
const LEFT: Gpr = R15;
/// The number of elements that whole vectors cover.
const LIMIT: Gpr = RCX;
/// Registers that hold pointers; further pointers are loaded into `RAX`.
const POINTERS: [Gpr; 7] = [RDX, RSI, RDI, R8, R9, R10, R11];
/// The masks of the last vector's elements, and of the lanes that a comparison or choice selects.
const TAIL: Mask = Mask(1);
const CHOSEN: Mask = Mask(2);
/// The most registers for inputs of one element a row.
const MOST_SPREAD: usize = 13;
const REGISTERS: u8 = 32;
/// Bytes from an address that is read to the one that is prefetched.
const AHEAD: i32 = 4096;
const NEVER: u32 = u32::MAX;

/// A register of the program during a segment.
#[derive(Clone, Copy)]
pub(super) struct Value {
    /// The processor's register that holds it.
    at: Option<Zmm>,
    /// The slot it was spilled to.
    slot: Option<usize>,
    /// The operation that reads it next.
    next: u32,
    /// Whether it is in memory: an input, a value of an earlier group, or a stored result.
    stored: bool,
}

impl Default for Value {
    fn default() -> Self {
        Self { at: None, slot: None, next: NEVER, stored: false }
    }
}

/// An opcode, by its map, prefix and byte.
const fn opcode(map: u8, prefix: u8, wide: bool, byte: u8) -> Opcode {
    Opcode { map, prefix, wide, byte }
}

pub(super) struct Segment<'e, 'a> {
    e: &'e mut Emitter<'a>,
    ops: &'e [u32],
    copies: &'e [(Reg, u32)],
    /// The table entries that the segment uses.
    pointers: Vec<u32>,
    /// Inputs of one element a row, with the registers that keep them for the whole loop.
    spread: Vec<(Reg, Zmm)>,
    /// The next use of each operand after each operation, three entries an operation.
    after: Vec<u32>,
    free: Vec<Zmm>,
    resident: Vec<Reg>,
    slots: usize,
    /// Whether the code is for the last vector of a row, which is not whole.
    tail: bool,
    /// Whether elements have eight bytes.
    double: bool,
}

impl<'e, 'a> Segment<'e, 'a> {
    pub(super) fn new(
        e: &'e mut Emitter<'a>,
        ops: &'e [u32],
        copies: &'e [(Reg, u32)],
        pointers: Vec<u32>,
    ) -> Self {
        let double = e.request.lanes == Dtype::F64;
        let mut s = Self {
            e,
            ops,
            copies,
            pointers,
            spread: Vec::new(),
            after: vec![NEVER; ops.len() * 3],
            free: Vec::new(),
            resident: Vec::new(),
            slots: 0,
            tail: false,
            double,
        };
        s.find_spread();
        s
    }

    fn single(&self) -> bool {
        self.e.request.single
    }

    fn find_spread(&mut self) {
        if self.single() {
            return;
        }
        let request = self.e.request;
        let mut next = REGISTERS;
        for &x in self.ops.iter().flat_map(|&k| request.ops[k as usize].operands()) {
            let spread = request.access.get(x as usize) == Some(&Access::Splat);
            if spread && self.spread.len() < MOST_SPREAD && !self.spread.iter().any(|s| s.0 == x) {
                next -= 1;
                self.spread.push((x, Zmm(next)));
            }
        }
    }

    pub(super) fn emit(mut self) {
        if self.single() {
            self.body();
            return;
        }
        let asm = &mut self.e.asm;
        for (i, &p) in self.pointers.iter().enumerate() {
            match POINTERS.get(i) {
                Some(&r) => asm.load(r, pointer(p)),
                None => {
                    asm.load(RAX, pointer(p));
                    asm.store(working(i), RAX);
                }
            }
        }
        let lanes: i8 = if self.double { 8 } else { 16 };
        asm.copy(RCX, COUNT);
        asm.and(RCX, lanes - 1);
        asm.mask_of_rcx(TAIL);
        asm.copy(LIMIT, COUNT);
        asm.and(LIMIT, -lanes);
        let (group, row) = (asm.label(), asm.label());
        asm.here(group);
        asm.copy(LEFT, ROWS);
        asm.here(row);
        for k in 0..self.spread.len() {
            let (x, to) = self.spread[k];
            self.load(x, to);
        }
        let asm = &mut self.e.asm;
        let (whole, last, next) = (asm.label(), asm.label(), asm.label());
        asm.clear(INDEX);
        asm.compare(INDEX, LIMIT);
        asm.jump_if(If::AboveOrEqual, last);
        asm.here(whole);
        self.body();
        let asm = &mut self.e.asm;
        asm.add(INDEX, lanes.into());
        asm.compare(INDEX, LIMIT);
        asm.jump_if(If::Below, whole);
        asm.here(last);
        asm.compare(INDEX, COUNT);
        asm.jump_if(If::AboveOrEqual, next);
        self.tail = true;
        self.body();
        let asm = &mut self.e.asm;
        asm.here(next);
        self.advance(step);
        let asm = &mut self.e.asm;
        asm.decrement(LEFT);
        asm.jump_if(If::NotEqual, row);
        if self.e.schedule.groups.len() > 1 {
            return;
        }
        self.advance(leap);
        let asm = &mut self.e.asm;
        asm.load(RAX, Mem::at(AREA, GROUPS));
        asm.decrement(RAX);
        asm.store(Mem::at(AREA, GROUPS), RAX);
        asm.jump_if(If::NotEqual, group);
    }

    /// Advances all pointers by the table's steps or leaps.
    fn advance(&mut self, by: fn(u32) -> Mem) {
        let asm = &mut self.e.asm;
        for (i, &p) in self.pointers.iter().enumerate() {
            match POINTERS.get(i) {
                Some(&r) => asm.add_memory(r, by(p)),
                None => {
                    asm.load(RAX, working(i));
                    asm.add_memory(RAX, by(p));
                    asm.store(working(i), RAX);
                }
            }
        }
    }

    /// The operations for one vector of elements.
    fn body(&mut self) {
        let request = self.e.request;
        let first_spread = self.spread.last().map_or(REGISTERS, |s| s.1.0);
        self.free = (0..first_spread).rev().map(Zmm).collect();
        self.resident.clear();
        self.slots = 0;
        // The next use of each value, found from the end.
        for (i, &k) in self.ops.iter().enumerate().rev() {
            let own = request.reg(k) as usize;
            let value = &mut self.e.values[own];
            (value.at, value.slot, value.stored) = (None, None, false);
            let operands = request.ops[k as usize].operands();
            for (j, &x) in operands.iter().enumerate() {
                self.after[i * 3 + j] = self.e.values[x as usize].next;
            }
            operands.iter().for_each(|&x| self.e.values[x as usize].next = i as u32);
        }
        // Inputs and values of earlier groups are in memory.
        let mut outside: Vec<Reg> = Vec::new();
        for &x in self.ops.iter().flat_map(|&k| request.ops[k as usize].operands()) {
            outside.push(x);
        }
        outside.extend(self.copies.iter().map(|c| c.0));
        for x in outside {
            let value = &mut self.e.values[x as usize];
            (value.at, value.slot, value.stored) = (None, None, true);
        }
        for &k in self.ops {
            self.e.values[request.reg(k) as usize].stored = false;
        }
        for k in 0..self.spread.len() {
            let (x, at) = self.spread[k];
            self.e.values[x as usize].at = Some(at);
        }
        for &(x, to) in self.copies {
            let at = self.fetch(x, &[]);
            self.store(at, to, x);
            if self.e.values[x as usize].next == NEVER {
                self.release(x);
            }
        }
        for (i, &k) in self.ops.iter().enumerate() {
            let op = &request.ops[k as usize];
            let mut from = [Zmm(0); 3];
            for (j, &x) in op.operands().iter().enumerate() {
                from[j] = self.fetch(x, op.operands());
            }
            let own = request.reg(k);
            let to = self.register(op.operands());
            self.e.values[own as usize].at = Some(to);
            self.resident.push(own);
            self.apply(op.code.expect("operations of segments have a code"), to, &from, op.operands());
            for (j, &x) in op.operands().iter().enumerate() {
                let next = self.after[i * 3 + j];
                self.e.values[x as usize].next = next;
                if next == NEVER && self.e.values[x as usize].at.is_some() {
                    self.release(x);
                }
            }
            let entry = self.e.schedule.entries[own as usize];
            if entry != NOWHERE {
                self.store(to, entry, own);
                self.e.values[own as usize].stored = !self.is_summed(entry);
            }
            if self.e.values[own as usize].next == NEVER {
                self.release(own);
            }
        }
        self.e.slots = self.e.slots.max(self.slots);
    }

    /// Frees a value's register, unless the value keeps it for the whole loop.
    fn release(&mut self, x: Reg) {
        if self.spread.iter().any(|s| s.0 == x) {
            return;
        }
        if let Some(at) = self.e.values[x as usize].at.take() {
            self.free.push(at);
            self.resident.retain(|&r| r != x);
        }
    }

    /// A register for a new value; `pinned` values are not spilled.
    fn register(&mut self, pinned: &[Reg]) -> Zmm {
        if let Some(at) = self.free.pop() {
            return at;
        }
        let next = |x: Reg| self.e.values[x as usize].next;
        let leaver = self.resident.iter().copied().filter(|x| !pinned.contains(x)).max_by_key(|&x| next(x));
        let x = leaver.expect("an operation has fewer operands than there are registers");
        let value = &mut self.e.values[x as usize];
        let at = value.at.take().expect("residents are in registers");
        if !value.stored && value.slot.is_none() {
            value.slot = Some(self.slots);
            self.slots += 1;
            let to = self.slot(self.slots - 1);
            self.e.asm.vector_memory(self.moves().1, at.0, 0, to, false, None, None);
        }
        self.resident.retain(|&r| r != x);
        at
    }

    fn slot(&self, slot: usize) -> Mem {
        Mem::at(AREA, (self.e.slots_at + slot * 64) as i32)
    }

    /// The register of a value, loaded if it is not in one.
    fn fetch(&mut self, x: Reg, pinned: &[Reg]) -> Zmm {
        if let Some(at) = self.e.values[x as usize].at {
            return at;
        }
        let to = self.register(pinned);
        match self.e.values[x as usize].slot {
            Some(slot) => {
                let from = self.slot(slot);
                self.e.asm.vector_memory(self.moves().0, to.0, 0, from, false, None, None);
            }
            None => self.load(x, to),
        }
        self.e.values[x as usize].at = Some(to);
        self.resident.push(x);
        to
    }

    /// The opcodes of loads and stores of whole registers.
    fn moves(&self) -> (Opcode, Opcode) {
        (opcode(1, 0, false, 0x10), opcode(1, 0, false, 0x11))
    }

    /// The address of an entry's current elements, of `1 << scale` bytes each; that of its one element if `scale` is `None`.
    fn address(&mut self, entry: u32, scale: Option<u8>) -> Mem {
        let asm = &mut self.e.asm;
        if self.e.request.single {
            asm.load(RAX, pointer(entry));
            return Mem::at(RAX, 0);
        }
        let i = self
            .pointers
            .binary_search(&entry)
            .expect("pointers of the segment are listed before it is written");
        let base = POINTERS.get(i).copied().unwrap_or_else(|| {
            asm.load(RAX, working(i));
            RAX
        });
        Mem::At { base, index: scale.map(|s| (INDEX, s)), disp: 0 }
    }

    fn is_bool(&self, x: Reg) -> bool {
        self.e.request.dtype(x) == Dtype::Bool
    }

    /// Loads a value from memory. Of truth values only the lanes' highest bits count.
    fn load(&mut self, x: Reg, to: Zmm) {
        let (double, single, boolean) = (self.double, self.single(), self.is_bool(x));
        let entry = self.e.schedule.entries[x as usize];
        let spread = !single && self.e.request.access.get(x as usize) == Some(&Access::Splat);
        let size = if boolean { 0 } else { 2 + u8::from(double) };
        let from = self.address(entry, (!spread).then_some(size));
        if self.e.request.far && !self.tail && !spread && !boolean {
            self.prefetch(x, from);
        }
        let asm = &mut self.e.asm;
        let tail = (self.tail && !spread).then_some((TAIL, true));
        if boolean && (spread || single) {
            asm.load_byte(RAX, from);
            // From a general register to all lanes, or to the lowest lane.
            let op = if single { opcode(1, 1, double, 0x6e) } else { opcode(2, 1, double, 0x7c) };
            asm.vector(op, to.0, 0, RAX.0, None, None);
        } else if boolean {
            asm.vector_memory(opcode(2, 1, false, 0x31 + u8::from(double)), to.0, 0, from, false, tail, None);
        } else if single || spread {
            let op = self.load_one();
            self.e.asm.vector_memory(op, to.0, 0, from, false, None, None);
        } else {
            asm.vector_memory(opcode(1, u8::from(double), double, 0x10), to.0, 0, from, false, tail, None);
        }
        if boolean {
            self.shift(to, to, true, if double { 63 } else { 31 });
        }
    }

    /// Prefetches the part of an input that the next tile reads, when this tile first reads the input. The processor's own
    /// prefetcher stops at the end of a page, and a tile is about one page.
    fn prefetch(&mut self, x: Reg, at: Mem) {
        if let Some(asked) = self.e.prefetched.get_mut(x as usize)
            && !std::mem::replace(asked, true)
            && let Mem::At { base, index, .. } = at
        {
            self.e.asm.prefetch(Mem::At { base, index, disp: AHEAD });
        }
    }

    /// The opcode that loads one element: for all lanes, or for the lowest if only one element counts.
    fn load_one(&self) -> Opcode {
        let d = u8::from(self.double);
        if self.single() { opcode(1, 2 + d, self.double, 0x10) } else { opcode(2, 1, self.double, 0x18 + d) }
    }

    /// Stores `x` from its register to an entry of the table.
    fn store(&mut self, from: Zmm, entry: u32, x: Reg) {
        let (double, single) = (self.double, self.single());
        let tail = self.tail.then_some((TAIL, false));
        if self.is_bool(x) {
            let bit = self.register(&[x]);
            self.shift(bit, from, false, if double { 63 } else { 31 });
            let to = self.address(entry, Some(0));
            let asm = &mut self.e.asm;
            if single {
                asm.vector(opcode(1, 1, double, 0x7e), bit.0, 0, RCX.0, None, None);
                asm.store_byte(to, RCX);
            } else {
                asm.vector_memory(
                    opcode(2, 2, false, 0x31 + u8::from(double)),
                    bit.0,
                    0,
                    to,
                    false,
                    tail,
                    None,
                );
            }
            self.free.push(bit);
            return;
        }
        if self.is_summed(entry) {
            return self.add_up(from, x);
        }
        let to = self.address(entry, Some(2 + u8::from(double)));
        let asm = &mut self.e.asm;
        let op = if single {
            opcode(1, 2 + u8::from(double), double, 0x11)
        } else if !self.tail && self.e.request.is_streamed(entry) {
            opcode(1, u8::from(double), double, 0x2b)
        } else {
            opcode(1, u8::from(double), double, 0x11)
        };
        asm.vector_memory(op, from.0, 0, to, false, tail, None);
    }

    fn is_summed(&self, entry: u32) -> bool {
        let r = self.e.request;
        r.sum.is_some_and(|o| r.inputs.len() + o == entry as usize)
    }

    /// Adds a register to the accumulators of the sum. The accumulators are chosen by the elements' position in their block.
    fn add_up(&mut self, from: Zmm, x: Reg) {
        let double = self.double;
        let sum = self.register(&[x]);
        let lanes: i8 = if double { 8 } else { 16 };
        let asm = &mut self.e.asm;
        asm.copy(RAX, INDEX);
        asm.and(RAX, LANES as i8 - lanes);
        let at =
            Mem::At { base: AREA, index: Some((RAX, 2 + u8::from(double))), disp: self.e.sums_at as i32 };
        let float = |byte| opcode(1, u8::from(double), double, byte);
        let tail = self.tail.then_some((TAIL, false));
        if self.tail {
            // Lanes beyond the last element must not be added.
            asm.vector_memory(float(0x10), sum.0, 0, at, false, None, None);
        }
        asm.vector_memory(float(0x58), sum.0, from.0, at, false, tail, None);
        asm.vector_memory(float(0x11), sum.0, 0, at, false, None, None);
        self.free.push(sum);
    }

    /// Shifts the bits of each lane to the left or right.
    fn shift(&mut self, to: Zmm, from: Zmm, left: bool, by: u8) {
        let op = opcode(1, 1, self.double, 0x72 + u8::from(self.double));
        self.e.asm.vector(op, if left { 6 } else { 2 }, to.0, from.0, None, Some(by));
    }

    /// The address of a constant with these bits.
    fn constant(&mut self, single: u32, double: u64) -> Mem {
        let bits = if self.double { double } else { u64::from(single) << 32 | u64::from(single) };
        self.e.asm.constant(bits)
    }

    /// Writes the instructions of one operation.
    fn apply(&mut self, code: Code, to: Zmm, from: &[Zmm; 3], operands: &[Reg]) {
        let double = self.double;
        let [a, b, c] = *from;
        let float = |byte| opcode(1, u8::from(double), double, byte);
        let bits = |byte| opcode(1, 1, double, byte);
        let two = |s: &mut Self, op| s.e.asm.apply(op, to, a, Operand::Reg(b));
        match code {
            Code::Add => two(self, float(0x58)),
            Code::Subtract => two(self, float(0x5c)),
            Code::Multiply => two(self, float(0x59)),
            Code::Divide => two(self, float(0x5e)),
            Code::Square => self.e.asm.apply(float(0x59), to, a, Operand::Reg(a)),
            Code::SquareRoot => self.e.asm.vector(float(0x51), to.0, 0, a.0, None, None),
            Code::Maximum | Code::Minimum => {
                // The instruction returns its second operand if one operand is NaN or both are zero.
                let byte = if code == Code::Maximum { 0x5f } else { 0x5d };
                two(self, float(byte));
                self.e.asm.vector(float(0xc2), CHOSEN.0, a.0, a.0, None, Some(3));
                self.e.asm.vector(float(0x28), to.0, 0, a.0, Some(CHOSEN), None);
            }
            Code::Negative | Code::Not => {
                let sign = self.constant(1 << 31, 1 << 63);
                self.e.asm.apply(bits(0xef), to, a, Operand::Spread(sign));
            }
            Code::Absolute => {
                self.shift(to, a, true, 1);
                self.shift(to, to, false, 1);
            }
            Code::SigmoidOfTail => {
                let one = self.constant(1f32.to_bits(), 1f64.to_bits());
                self.e.asm.apply(float(0x58), to, a, Operand::Spread(one));
                self.e.asm.vector(opcode(2, 2, double, 0x39), CHOSEN.0, 0, a.0, None, None);
                self.e.asm.vector(opcode(2, 1, double, 0x65), to.0, a.0, to.0, Some(CHOSEN), None);
            }
            Code::SlopeOfTail => {
                self.shift(to, a, true, 1);
                self.shift(to, to, false, 1);
                self.e.asm.vector(opcode(2, 1, double, 0xbc), to.0, a.0, a.0, None, None);
            }
            Code::Reciprocal => {
                let one = self.constant(1f32.to_bits(), 1f64.to_bits());
                let op = self.load_one();
                self.e.asm.vector_memory(op, to.0, 0, one, false, None, None);
                self.e.asm.apply(float(0x5e), to, to, Operand::Reg(a));
            }
            Code::Equal
            | Code::NotEqual
            | Code::Less
            | Code::LessEqual
            | Code::Greater
            | Code::GreaterEqual => {
                // For numbers that may be NaN, and for integers.
                let (float_is, integer_is) = match code {
                    Code::Equal => (0, 0),
                    Code::NotEqual => (4, 4),
                    Code::Less => (1, 1),
                    Code::LessEqual => (2, 2),
                    Code::Greater => (14, 6),
                    _ => (13, 5),
                };
                let (op, predicate) = match self.e.request.dtype(operands[0]) {
                    Dtype::I32 | Dtype::I64 => (opcode(3, 1, double, 0x1f), integer_is),
                    _ => (float(0xc2), float_is),
                };
                self.e.asm.vector(op, CHOSEN.0, a.0, b.0, None, Some(predicate));
                // From a mask to lanes of ones.
                self.e.asm.vector(opcode(2, 2, double, 0x38), to.0, 0, CHOSEN.0, None, None);
            }
            Code::Select => {
                self.e.asm.vector(opcode(2, 2, double, 0x39), CHOSEN.0, 0, a.0, None, None);
                self.e.asm.vector(opcode(2, 1, double, 0x65), to.0, c.0, b.0, Some(CHOSEN), None);
            }
            Code::And => two(self, bits(0xdb)),
            Code::Or => two(self, bits(0xeb)),
            Code::Xor => two(self, bits(0xef)),
            Code::FromBool => {
                self.shift(to, a, false, if double { 63 } else { 31 });
                let op = if double { opcode(1, 2, true, 0xe6) } else { opcode(1, 0, false, 0x5b) };
                self.e.asm.vector(op, to.0, 0, to.0, None, None);
            }
        }
    }
}

/// The address of pointer `i` of a segment in the working memory.
fn working(i: usize) -> Mem {
    Mem::at(AREA, (WORKING + i * 8) as i32)
}
