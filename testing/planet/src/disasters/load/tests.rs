use super::*;

fn version(seed: u64) -> Version {
    Version { seed, bytes: 100 }
}

#[test]
fn a_loss_is_seen() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("f");
    let acknowledged = || Versions {
        acknowledged: Some(version(1)),
        tried: vec![version(2)],
        may_be_gone: false,
    };
    let look = |content: Option<Vec<u8>>| {
        let mut versions = acknowledged();
        match content {
            Some(content) => {
                fs::File::create(&file)
                    .unwrap()
                    .write_all(&content)
                    .unwrap();
            }
            None => drop(fs::remove_file(&file)),
        }
        check(&file, &mut versions).map(|()| versions.acknowledged)
    };
    assert_eq!(look(Some(noise(1, 100))).unwrap(), Some(version(1)));
    assert_eq!(look(Some(noise(2, 100))).unwrap(), Some(version(2)));
    look(Some(noise(1, 99))).unwrap_err();
    look(Some(noise(3, 100))).unwrap_err();
    look(None).unwrap_err();
    let mut removed = acknowledged();
    removed.may_be_gone = true;
    check(&file, &mut removed).unwrap();
    assert_eq!(removed.acknowledged, None);
    assert!(check(&file, &mut Versions::default()).is_ok());
}
