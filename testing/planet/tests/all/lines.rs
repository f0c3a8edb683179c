//! A network on bad lines: slow, lossy, and cut for a while.

use planet::disasters::lines::{self, Lines};

use crate::kills::in_kept_folder;
use crate::stage::{Turn, number};

#[test]
fn files_come_and_go_over_bad_lines() {
    if let Some(reason) = lines::why_not() {
        println!("no bad lines on this machine: {reason}");
        return;
    }
    let _turn = Turn::wait();
    in_kept_folder(|programs, dir, talk| {
        let (cycles, seed) = (number("PLANET_CYCLES", 1), number("PLANET_SEED", 1));
        let lines = Lines {
            programs,
            dir,
            cycles,
            seed,
        };
        Ok(lines::run(&lines, talk)?.to_string())
    });
}
