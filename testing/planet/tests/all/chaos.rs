//! Chaos for a while: nothing acknowledged is lost, and everything is whole in the end.

use std::time::Duration;

use planet::disasters::Talk;
use planet::disasters::chaos::{self, Chaos};

use crate::kills::in_kept_folder;
use crate::stage::{PATIENCE, Turn, number};

const SECONDS: u64 = 30;

#[test]
fn everything_survives_chaos() {
    let _turn = Turn::wait();
    in_kept_folder(|programs, dir, talk| {
        let span = Duration::from_secs(number("PLANET_SECONDS", SECONDS));
        let chaos = Chaos {
            seed: number("PLANET_SEED", 1),
            span: Some(span),
            faketime: chaos::faketime(),
        };
        let config = planet::PlanetConfig::new(programs, dir.join("planet"), chaos::HOSTS_MIN);
        let mut planet = planet::Planet::new(config)?;
        planet.start(planet::Patience::within(PATIENCE))?;
        let owner = planet.owner("owner");
        owner.init(&planet.layout().bridge_url())?;
        let mut talk = Talk {
            give_up: talk.give_up,
            progress: &mut |event| println!("{event}"),
        };
        let scratch = dir.join("scratch");
        let score = chaos::run(&chaos, &mut planet, (&owner, &scratch), &mut talk)?;
        assert!(
            score.acknowledged > 0 && !score.events.is_empty(),
            "{score}"
        );
        Ok(score.to_string())
    });
}
