//! A participant made for tests, whose messages hold every kind of field.

use std::sync::OnceLock;

use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use saga_definition::{Barrier, Call, Definition, Participants, Problem, Target, compile};

pub(crate) const LAB: &str = include_str!("lab.proto");
const STEP_OPTIONS: &str = include_str!("../../../../proto/evenkeel/saga/v1/step_options.proto");

/// Serves `lab.proto` from memory, so that tests can change its text.
struct Memory(String);

impl FileResolver for Memory {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "lab.proto" => File::from_source(name, &self.0),
            "evenkeel/saga/v1/step_options.proto" => File::from_source(name, STEP_OPTIONS),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

pub(crate) fn pool_of(lab: &str) -> DescriptorPool {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Memory(lab.to_owned()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file("lab.proto")
        .expect("the lab compiles");
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).expect("the lab loads")
}

pub(crate) fn pool() -> DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| pool_of(LAB)).clone()
}

pub(crate) fn participants() -> Participants {
    Participants::new(["lab.v1"])
}

pub(crate) fn compiled(yaml: &str) -> Result<Definition, Vec<Problem>> {
    compile(yaml, &pool(), &participants())
}

/// A saga with these steps; the first line of `steps` is line 6.
pub(crate) fn saga(steps: &str) -> String {
    format!("saga: LAB\nversion: 1\ninput: lab.v1.Everything\ndeadline: 5m\nsteps:\n{steps}")
}

/// A saga of one step that fills one request with `with`; the first line of `with` is line 10.
pub(crate) fn one_step(with: &str) -> String {
    let indented: String = with.lines().map(|line| format!("      {line}\n")).collect();
    let call = "    call: lab.v1.LabSteps/Do\n    no_compensation: none needed\n    with:\n";
    saga(&format!("  - name: A\n{call}{indented}"))
}

pub(crate) fn good(yaml: &str) -> Definition {
    compiled(yaml).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(|p| format!("{} {p}", p.kind)).collect();
        panic!("expected no problem:\n{}\nin\n{yaml}", lines.join("\n"))
    })
}

pub(crate) fn barrier(call: &Call) -> Barrier {
    match call.target() {
        Target::Method { barrier, .. } => *barrier,
        Target::Publish { routing_key } => panic!("{routing_key} is no method"),
    }
}
