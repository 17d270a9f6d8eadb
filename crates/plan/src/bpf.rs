//! Answers and conditions in, classic BPF out: one balanced search over the system call number.
//!
//! The instruction set is that of `linux/filter.h`; the data is `struct seccomp_data` (seccomp(2)): number at 0,
//! architecture at 4, arguments from 16, eight bytes each.

use std::borrow::Cow;

/// One instruction, laid out as `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if true.
    pub jt: u8,
    /// Instructions to skip if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Run it.
    Allow,
    /// Fail with this errno.
    Errno(u16),
    /// Ask the supervisor, who answers in its place.
    Notify,
    /// Kill the whole process.
    Kill,
}

/// A condition on one half of one argument; `true` if `(half & mask) == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Argument index, 0 to 5.
    pub argument: u8,
    /// The upper 32 bits instead of the lower.
    pub upper: bool,
    /// Bits that count.
    pub mask: u32,
    /// Their value.
    pub value: u32,
}

impl Match {
    /// Whether these arguments meet it.
    #[must_use]
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = arguments.get(usize::from(self.argument)).copied().unwrap_or(0);
        let half = if self.upper { argument >> 32 } else { argument } as u32;
        half & self.mask == self.value
    }
}

/// One alternative of a conditional answer: if all matches hold, this verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// All must hold; empty always holds.
    pub when: Vec<Match>,
    /// Then.
    pub verdict: Verdict,
}

/// The answer to one system call: the first case that holds; the last must have no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// System call number.
    pub number: u32,
    /// Tried in order.
    pub cases: Cow<'static, [Case]>,
}

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

/// `AUDIT_ARCH_*` of this build (`linux/audit.h`).
pub const ARCHITECTURE: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };

/// Compiles `entries` (any order, each number once). Numbers in between get `otherwise`; foreign architectures
/// and x32 numbers kill.
#[must_use]
pub fn compile(mut entries: Vec<Entry>, otherwise: Verdict) -> Vec<Instruction> {
    entries.sort_by_key(|entry| entry.number);
    let mut program = vec![
        op(LOAD, 4),
        jump(EQUAL, ARCHITECTURE, 1, 0),
        op(RETURN, code(Verdict::Kill)),
        op(LOAD, 0),
        jump(AT_LEAST, 0x4000_0000, 0, 1), // __X32_SYSCALL_BIT
        op(RETURN, code(Verdict::Kill)),
    ];
    search(&ranges(entries, otherwise), &mut program);
    program
}

/// From this number up to the next range's, the same cases apply.
struct Range {
    from: u32,
    cases: Cow<'static, [Case]>,
}

fn ranges(entries: Vec<Entry>, otherwise: Verdict) -> Vec<Range> {
    let gap = || Cow::Owned(vec![Case { when: Vec::new(), verdict: otherwise }]);
    let mut ranges: Vec<Range> = Vec::with_capacity(entries.len());
    let mut push = |from: u32, cases: Cow<'static, [Case]>| {
        if ranges.last().is_none_or(|last| last.cases != cases) {
            ranges.push(Range { from, cases });
        }
    };
    let mut next = 0;
    for entry in entries {
        if entry.number > next {
            push(next, gap());
        }
        push(entry.number, entry.cases);
        next = entry.number + 1;
    }
    push(next, gap());
    ranges
}

/// A balanced search: `if nr >= pivot goto right; left...; right...`. The long way uses `JA`, whose offset has 32 bits.
fn search(ranges: &[Range], program: &mut Vec<Instruction>) {
    match ranges {
        [] => program.push(op(RETURN, code(Verdict::Kill))),
        [only] => leaf(&only.cases, program),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let pivot = high.first().map_or(0, |range| range.from);
            program.extend([jump(AT_LEAST, pivot, 0, 1), op(JUMP, 0)]);
            let before = program.len();
            search(low, program);
            let left = u32::try_from(program.len() - before).unwrap_or(u32::MAX);
            if let Some(over) = program.get_mut(before - 1) {
                over.k = left;
            }
            search(high, program);
        }
    }
}

fn leaf(cases: &[Case], program: &mut Vec<Instruction>) {
    for case in cases {
        for (number, condition) in case.when.iter().enumerate() {
            // A condition that fails jumps over the rest of its case; cases are short, so eight bits are enough.
            let rest = (case.when.len() - number - 1) * 3 + 1;
            let skip = u8::try_from(rest).unwrap_or(u8::MAX);
            program.extend([
                op(LOAD, offset(*condition)),
                op(AND, condition.mask),
                jump(EQUAL, condition.value, 0, skip),
            ]);
        }
        program.push(op(RETURN, code(case.verdict)));
        if case.when.is_empty() {
            return;
        }
    }
    // No unconditional case: fail closed.
    program.push(op(RETURN, code(Verdict::Kill)));
}

fn offset(condition: Match) -> u32 {
    // Both supported architectures are little-endian: the lower half comes first.
    16 + u32::from(condition.argument) * 8 + if condition.upper { 4 } else { 0 }
}

fn code(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Allow => RET_ALLOW,
        Verdict::Errno(errno) => RET_ERRNO | u32::from(errno),
        Verdict::Notify => RET_USER_NOTIF,
        Verdict::Kill => RET_KILL_PROCESS,
    }
}

fn op(code: u16, k: u32) -> Instruction {
    jump(code, k, 0, 0)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// Runs a program on one call, as the kernel would; for tests and for `plan`'s own check.
///
/// Returns the raw `SECCOMP_RET_*` value, or `None` where the program runs off its end.
#[must_use]
pub fn interpret(
    program: &[Instruction],
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
) -> Option<u32> {
    let mut data = [0u32; 16];
    data[0] = number;
    data[1] = architecture;
    for (index, argument) in arguments.iter().enumerate() {
        data[4 + index * 2] = (*argument & 0xffff_ffff) as u32;
        data[5 + index * 2] = (*argument >> 32) as u32;
    }
    let mut accumulator = 0;
    let mut at = 0usize;
    loop {
        let instruction = program.get(at)?;
        at += 1;
        let take = |condition: bool| usize::from(if condition { instruction.jt } else { instruction.jf });
        match instruction.code {
            LOAD => accumulator = *data.get(instruction.k as usize / 4)?,
            AND => accumulator &= instruction.k,
            JUMP => at += instruction.k as usize,
            EQUAL => at += take(accumulator == instruction.k),
            AT_LEAST => at += take(accumulator >= instruction.k),
            RETURN => return Some(instruction.k),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_gets_its_own_answer_and_gaps_get_the_default() {
        let entries = [3u32, 4, 5, 9, 200, 451]
            .map(|number| Entry {
                number,
                cases: vec![Case { when: vec![], verdict: Verdict::Errno(number as u16) }].into(),
            })
            .to_vec();
        let program = compile(entries.clone(), Verdict::Errno(38));
        for number in 0..600 {
            let expected = if entries.iter().any(|entry| entry.number == number) { number } else { 38 };
            assert_eq!(
                interpret(&program, ARCHITECTURE, number, [0; 6]),
                Some(RET_ERRNO | expected),
                "{number}"
            );
        }
    }

    #[test]
    fn foreign_architecture_and_x32_kill() {
        let program = compile(vec![], Verdict::Allow);
        assert_eq!(interpret(&program, 0x4000_0003, 1, [0; 6]), Some(RET_KILL_PROCESS));
        assert_eq!(interpret(&program, ARCHITECTURE, 0x4000_0001, [0; 6]), Some(RET_KILL_PROCESS));
        assert_eq!(interpret(&program, ARCHITECTURE, 1, [0; 6]), Some(RET_ALLOW));
    }

    #[test]
    fn cases_without_a_last_word_fail_closed() {
        let when = vec![Match { argument: 1, upper: false, mask: u32::MAX, value: 7 }];
        let program = compile(
            vec![Entry { number: 1, cases: vec![Case { when, verdict: Verdict::Allow }].into() }],
            Verdict::Allow,
        );
        assert_eq!(interpret(&program, ARCHITECTURE, 1, [0, 7, 0, 0, 0, 0]), Some(RET_ALLOW));
        assert_eq!(interpret(&program, ARCHITECTURE, 1, [0, 8, 0, 0, 0, 0]), Some(RET_KILL_PROCESS));
    }
}
