//! Any text as a saga definition: it compiles or has mistakes, and what compiles is its own canonical text.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use prost_reflect::DescriptorPool;
use saga_definition::{Participants, compile};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(proto::descriptor_pool);

fuzz_target!(|text: &str| {
    let participants = Participants::new(["evenkeel"]);
    match compile(text, &POOL, &participants) {
        Err(problems) => assert!(!problems.is_empty(), "it neither compiles nor has a mistake"),
        Ok(first) => {
            let stored = DescriptorPool::decode(first.closure().as_slice()).expect("a closure is a descriptor set");
            let again = compile(first.canonical(), &stored, &first.participants()).expect("canonical text compiles");
            assert_eq!(first.canonical(), again.canonical());
            assert_eq!(first.hash(), again.hash());
        }
    }
});
