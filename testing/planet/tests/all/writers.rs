//! Many real writers: processes of one home, and devices of one account, all at the same time and
//! on a volume that is still empty.

use std::ffi::OsString;

use crate::stage::{Stage, write};

/// Writers at a time.
const WRITERS: usize = 16;

#[test]
fn sixteen_programs_share_one_home() {
    let stage = Stage::new(5);
    let mut putting = Vec::new();
    for number in 0..WRITERS {
        let local = stage.path(&format!("file {number}"));
        // Half of them live in the tree, the others in packs of their own.
        write(&local, "x".repeat(1 + 5_000 * (number % 2)));
        let args: [OsString; 3] = ["put".into(), local.into(), "/in/one/".into()];
        putting.push(stage.begin(args));
    }
    for put in putting {
        put.end().expect_code(0);
    }
    let listed = stage.done(["--json", "ls", "/in/one"]).json();
    assert_eq!(listed.as_array().unwrap().len(), WRITERS, "{listed}");
    let sum = stage.done(["--json", "du", "/in/one"]).json();
    assert_eq!(sum["bytes"], WRITERS + WRITERS / 2 * 5_000, "{sum}");
}

#[test]
fn sixteen_devices_write_into_one_folder_and_one_name() {
    let stage = Stage::new(5);
    let bridge = stage.planet.layout().bridge_url();
    let all = |args: &dyn Fn(usize) -> Vec<OsString>| {
        let running: Vec<_> = (0..WRITERS)
            .map(|number| stage.begin_at(&stage.path(&format!("home {number}")), args(number)))
            .collect();
        for each in running {
            each.end().expect_code(0);
        }
    };
    let local = |number: usize| {
        let path = stage.path(&format!("local {number}"));
        write(&path, format!("by {number}"));
        path.into_os_string()
    };
    let phrase = stage.owner.phrase().as_os_str();
    all(&|number| {
        let mut args = strings(&["init", "--bridge", &bridge, "--restore"]);
        args.push(phrase.to_owned());
        args.extend(strings(&["--device-name", &format!("d{number}")]));
        args
    });
    all(&|number| {
        let own = format!("/folder/own {number}");
        vec!["put".into(), local(number), own.into()]
    });
    all(&|number| vec!["put".into(), local(number), "/name".into()]);

    let listed = stage.done(["--json", "ls", "/folder"]).json();
    assert_eq!(listed.as_array().unwrap().len(), WRITERS, "{listed}");
    // Who started late saw another's version and took its place; one that nobody saw is beside.
    let listed = stage.done(["--json", "ls", "/"]).json();
    let names = listed.as_array().unwrap().iter();
    let mut names: Vec<_> = names.map(|entry| entry["name"].as_str().unwrap()).collect();
    names.retain(|name| *name != "folder");
    assert!(names.contains(&"name"), "{names:?}");
    let fits = |name: &&str| *name == "name" || name.starts_with("name (conflict d");
    assert!(names.iter().all(fits), "{names:?}");
}

fn strings(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}
