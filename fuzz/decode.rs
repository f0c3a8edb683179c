//! Every decoder as a fuzz target: one binary, so that all of them are built once; `DECODER` says
//! which. The decoders themselves are in `testing/decoders`, where the tests call them as well.
#![no_main]

use std::sync::LazyLock;

use decoders::Decoder;
use libfuzzer_sys::fuzz_target;

static DECODER: LazyLock<Decoder> = LazyLock::new(|| {
    let name = std::env::var("DECODER").unwrap_or_default();
    decoders::find(&name).unwrap_or_else(|| panic!("DECODER=`{name}` is no decoder"))
});

fuzz_target!(|bytes: &[u8]| {
    (DECODER.run)(bytes);
});
