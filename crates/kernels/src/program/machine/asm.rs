//! An assembler for the few x86-64 instructions that programs need: AVX-512 arithmetic over registers and memory, and the
//! integer instructions of a loop around it.
//!
//! Encodings follow the "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2. A library that encodes
//! the whole instruction set takes 40 seconds to build; this file has the instructions that are used.

/// A general register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gpr(pub(super) u8);

/// A vector register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Zmm(pub(super) u8);

/// A mask register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mask(pub(super) u8);

pub(super) const RAX: Gpr = Gpr(0);
pub(super) const RCX: Gpr = Gpr(1);
pub(super) const RDX: Gpr = Gpr(2);
pub(super) const RBX: Gpr = Gpr(3);
pub(super) const RSP: Gpr = Gpr(4);
pub(super) const RBP: Gpr = Gpr(5);
pub(super) const RSI: Gpr = Gpr(6);
pub(super) const RDI: Gpr = Gpr(7);
pub(super) const R8: Gpr = Gpr(8);
pub(super) const R9: Gpr = Gpr(9);
pub(super) const R10: Gpr = Gpr(10);
pub(super) const R11: Gpr = Gpr(11);
pub(super) const R12: Gpr = Gpr(12);
pub(super) const R13: Gpr = Gpr(13);
pub(super) const R14: Gpr = Gpr(14);
pub(super) const R15: Gpr = Gpr(15);

/// An address in memory: `base + index · 2^scale + disp`, or that of a constant after the code.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mem {
    At { base: Gpr, index: Option<(Gpr, u8)>, disp: i32 },
    Constant(u32),
}

impl Mem {
    pub(super) fn at(base: Gpr, disp: i32) -> Self {
        Mem::At { base, index: None, disp }
    }
}

/// The last operand of a vector instruction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    Reg(Zmm),
    /// One element of memory for all lanes.
    Spread(Mem),
}

/// An instruction's opcode: the map, the prefix, the W bit (the form for 64-bit elements), and the byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opcode {
    pub(super) map: u8,
    pub(super) prefix: u8,
    pub(super) wide: bool,
    pub(super) byte: u8,
}

/// The bits of the registers that an instruction uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Width {
    /// 512.
    Whole,
    /// 128, of which only one element counts.
    Single,
}

/// A target of jumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// The condition of a jump.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum If {
    Below = 0x2,
    AboveOrEqual = 0x3,
    NotEqual = 0x5,
}

/// Code that is being written.
pub(super) struct Asm {
    pub(super) code: Vec<u8>,
    width: Width,
    /// 64-bit constants; one of 32 bits is two equal halves.
    constants: Vec<u64>,
    /// For each use of a constant: the position of the displacement in the code, the number of instruction bytes that
    /// follow it, and the constant.
    constant_uses: Vec<(usize, usize, u32)>,
    labels: Vec<usize>,
    jumps: Vec<(usize, Label)>,
}

impl Asm {
    pub(super) fn new(width: Width) -> Self {
        Self {
            code: Vec::new(),
            width,
            constants: Vec::new(),
            constant_uses: Vec::new(),
            labels: Vec::new(),
            jumps: Vec::new(),
        }
    }

    /// The address of a constant.
    pub(super) fn constant(&mut self, bits: u64) -> Mem {
        let at = self.constants.iter().position(|&c| c == bits).unwrap_or_else(|| {
            self.constants.push(bits);
            self.constants.len() - 1
        });
        Mem::Constant(at as u32)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    /// ModRM, SIB and displacement for memory; `tail` bytes of the instruction follow.
    fn memory(&mut self, reg: u8, mem: Mem, tail: usize) {
        let reg = (reg & 7) << 3;
        match mem {
            Mem::Constant(at) => {
                self.code.push(reg | 0b101);
                self.constant_uses.push((self.code.len(), tail, at));
                self.bytes(&[0; 4]);
            }
            Mem::At { base, index, disp } => {
                // Vector instructions scale short displacements; only zero means the same in all instructions.
                let mode = if disp == 0 { 0b01 } else { 0b10 };
                match index {
                    None if base.0 & 7 != 4 => self.code.push(mode << 6 | reg | base.0 & 7),
                    _ => {
                        let (index, scale) = index.unwrap_or((RSP, 0));
                        self.code.push(mode << 6 | reg | 0b100);
                        self.code.push(scale << 6 | (index.0 & 7) << 3 | base.0 & 7);
                    }
                }
                if disp == 0 { self.code.push(0) } else { self.bytes(&disp.to_le_bytes()) }
            }
        }
    }

    /// The high bits of a memory operand's index and base, which are encoded in prefixes.
    fn high(mem: Mem) -> (u8, u8) {
        match mem {
            Mem::At { base, index, .. } => (index.map_or(0, |i| i.0.0 >> 3), base.0 >> 3),
            Mem::Constant(_) => (0, 0),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the prefix")]
    fn evex(&mut self, op: Opcode, reg: u8, second: u8, x: u8, b: u8, spread: bool, mask: u8, zero: bool) {
        let flip = |bit: u8| bit & 1 ^ 1;
        let length = if self.width == Width::Whole { 0b10 } else { 0 };
        self.bytes(&[
            0x62,
            flip(reg >> 3) << 7 | flip(x) << 6 | flip(b) << 5 | flip(reg >> 4) << 4 | op.map,
            u8::from(op.wide) << 7 | (!second & 15) << 3 | 1 << 2 | op.prefix,
            u8::from(zero) << 7 | length << 5 | u8::from(spread) << 4 | flip(second >> 4) << 3 | mask,
            op.byte,
        ]);
    }

    /// `reg = second op rm`, all in registers. The opcode decides which fields name vectors and which name masks.
    pub(super) fn vector(
        &mut self,
        op: Opcode,
        reg: u8,
        second: u8,
        rm: u8,
        mask: Option<Mask>,
        tail: Option<u8>,
    ) {
        self.evex(op, reg, second, rm >> 4, rm >> 3, false, mask.map_or(0, |m| m.0), false);
        self.code.push(0b11 << 6 | (reg & 7) << 3 | rm & 7);
        self.code.extend(tail);
    }

    /// As [`Asm::vector`], with the last operand in memory; with `spread`, one element for all lanes. Lanes outside of the mask
    /// are not stored, and are zero in a load.
    #[expect(clippy::too_many_arguments, reason = "the fields of an instruction")]
    pub(super) fn vector_memory(
        &mut self,
        op: Opcode,
        reg: u8,
        second: u8,
        mem: Mem,
        spread: bool,
        mask: Option<(Mask, bool)>,
        tail: Option<u8>,
    ) {
        let (x, b) = Self::high(mem);
        self.evex(op, reg, second, x, b, spread, mask.map_or(0, |m| m.0.0), mask.is_some_and(|m| m.1));
        self.memory(reg, mem, usize::from(tail.is_some()));
        self.code.extend(tail);
    }

    /// `to = a op b`.
    pub(super) fn apply(&mut self, op: Opcode, to: Zmm, a: Zmm, b: Operand) {
        match b {
            Operand::Reg(b) => self.vector(op, to.0, a.0, b.0, None, None),
            Operand::Spread(mem) => self.vector_memory(op, to.0, a.0, mem, true, None, None),
        }
    }

    // Integer instructions.

    fn rex(&mut self, reg: u8, x: u8, b: u8) {
        self.code.push(0x48 | (reg >> 3) << 2 | x << 1 | b);
    }

    fn integer_memory(&mut self, byte: u8, reg: Gpr, mem: Mem) {
        let (x, b) = Self::high(mem);
        self.rex(reg.0, x, b);
        self.code.push(byte);
        self.memory(reg.0, mem, 0);
    }

    pub(super) fn load(&mut self, to: Gpr, from: Mem) {
        self.integer_memory(0x8b, to, from);
    }

    pub(super) fn store(&mut self, to: Mem, from: Gpr) {
        self.integer_memory(0x89, from, to);
    }

    /// Loads a byte into the lowest byte; the other bytes become zero.
    pub(super) fn load_byte(&mut self, to: Gpr, from: Mem) {
        let (x, b) = Self::high(from);
        self.rex(to.0, x, b);
        self.bytes(&[0x0f, 0xb6]);
        self.memory(to.0, from, 0);
    }

    /// Stores the lowest byte.
    pub(super) fn store_byte(&mut self, to: Mem, from: Gpr) {
        self.integer_memory(0x88, from, to);
    }

    pub(super) fn add_memory(&mut self, to: Gpr, from: Mem) {
        self.integer_memory(0x03, to, from);
    }

    fn integer(&mut self, byte: u8, rm: Gpr, reg: u8) {
        self.rex(reg, 0, rm.0 >> 3);
        self.bytes(&[byte, 0b11 << 6 | (reg & 7) << 3 | rm.0 & 7]);
    }

    pub(super) fn copy(&mut self, to: Gpr, from: Gpr) {
        self.integer(0x89, to, from.0);
    }

    pub(super) fn compare(&mut self, a: Gpr, b: Gpr) {
        self.integer(0x39, a, b.0);
    }

    pub(super) fn multiply(&mut self, to: Gpr, by: Gpr) {
        self.rex(to.0, 0, by.0 >> 3);
        self.bytes(&[0x0f, 0xaf, 0b11 << 6 | (to.0 & 7) << 3 | by.0 & 7]);
    }

    pub(super) fn add(&mut self, to: Gpr, value: i32) {
        self.integer(0x81, to, 0);
        self.bytes(&value.to_le_bytes());
    }

    /// `to &= mask`, with the mask's sign extended.
    pub(super) fn and(&mut self, to: Gpr, mask: i8) {
        self.integer(0x83, to, 4);
        self.code.push(mask as u8);
    }

    pub(super) fn decrement(&mut self, reg: Gpr) {
        self.integer(0xff, reg, 1);
    }

    pub(super) fn clear(&mut self, reg: Gpr) {
        self.integer(0x31, reg, reg.0);
    }

    pub(super) fn set(&mut self, to: Gpr, value: u64) {
        self.rex(0, 0, to.0 >> 3);
        self.code.push(0xb8 | to.0 & 7);
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn call(&mut self, to: Gpr) {
        debug_assert!(to.0 < 8, "shorter without a prefix");
        self.bytes(&[0xff, 0b11 << 6 | 2 << 3 | to.0]);
    }

    pub(super) fn push(&mut self, reg: Gpr) {
        if reg.0 >= 8 {
            self.code.push(0x41);
        }
        self.code.push(0x50 | reg.0 & 7);
    }

    pub(super) fn pop(&mut self, reg: Gpr) {
        if reg.0 >= 8 {
            self.code.push(0x41);
        }
        self.code.push(0x58 | reg.0 & 7);
    }

    /// Ends the use of wide registers (`vzeroupper`). Without it, later code may run at half speed.
    pub(super) fn end_vectors(&mut self) {
        self.bytes(&[0xc5, 0xf8, 0x77]);
    }

    /// Prefetches the cache line at an address, which may be invalid.
    pub(super) fn prefetch(&mut self, mem: Mem) {
        let (x, b) = Self::high(mem);
        self.rex(0, x, b);
        self.bytes(&[0x0f, 0x18]);
        self.memory(1, mem, 0);
    }

    /// Store fence: orders the non-temporal stores before later ones.
    pub(super) fn fence(&mut self) {
        self.bytes(&[0x0f, 0xae, 0xf8]);
    }

    pub(super) fn ret(&mut self) {
        self.code.push(0xc3);
    }

    /// `mask = 2^rcx − 1`, by way of `rax`; `rcx` is below 64.
    pub(super) fn mask_of_rcx(&mut self, mask: Mask) {
        self.bytes(&[0xb8, 0xff, 0xff, 0xff, 0xff]); // mov eax, -1
        self.bytes(&[0xc4, 0xe2, 0x70, 0xf5, 0xc0]); // bzhi eax, eax, ecx
        self.bytes(&[0xc5, 0xf8, 0x92, 0b11 << 6 | mask.0 << 3]); // kmovw mask, eax
    }

    // Jumps.

    pub(super) fn label(&mut self) -> Label {
        self.labels.push(usize::MAX);
        Label(self.labels.len() - 1)
    }

    /// Places a label at the current position.
    pub(super) fn here(&mut self, label: Label) {
        self.labels[label.0] = self.code.len();
    }

    pub(super) fn jump_if(&mut self, when: If, to: Label) {
        self.bytes(&[0x0f, 0x80 | when as u8]);
        self.jumps.push((self.code.len(), to));
        self.bytes(&[0; 4]);
    }

    /// The finished code: constants appended, jumps and references to constants resolved.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.code.resize(self.code.len().next_multiple_of(8), 0xcc);
        let start = self.code.len();
        for c in std::mem::take(&mut self.constants) {
            self.bytes(&c.to_le_bytes());
        }
        let uses = std::mem::take(&mut self.constant_uses);
        for (at, tail, constant) in uses {
            let target = start + constant as usize * 8;
            self.relative(at, at + 4 + tail, target);
        }
        let jumps = std::mem::take(&mut self.jumps);
        for (at, label) in jumps {
            let target = self.labels[label.0];
            self.relative(at, at + 4, target);
        }
        self.code
    }

    /// Writes the distance from the end of an instruction to its target.
    fn relative(&mut self, at: usize, end: usize, target: usize) {
        let way = (target as i64 - end as i64) as i32;
        self.code[at..at + 4].copy_from_slice(&way.to_le_bytes());
    }
}
