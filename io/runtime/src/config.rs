//! Layers of configuration: a TOML file, above it what the command line and environment say.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Largest configuration file.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{} is larger than {CONFIG_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML.
    #[error("{} is not toml", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The command line's part could not be written as TOML.
    #[error("the options cannot be layered")]
    Options(#[source] Box<toml::ser::Error>),
    /// The layers together are no configuration: an unknown name, a bad value.
    #[error("the configuration is not valid")]
    Meaning(#[source] Box<toml::de::Error>),
}

/// Reads `file`, if one is named, puts `options` above it and parses the result.
///
/// `options` is what clap gathered from flags and environment, with `None` where nothing was
/// said; such fields let the file's value through. Tables merge, anything else replaces. `R` is
/// the raw configuration with `deny_unknown_fields`, so that a misspelt name is an error.
///
/// # Errors
/// [`ConfigError`], which names the file.
pub fn layered<R: DeserializeOwned>(
    file: Option<&Path>,
    options: &impl Serialize,
) -> Result<R, ConfigError> {
    let mut layers = match file {
        Some(path) => read(path)?,
        None => Table::new(),
    };
    let options =
        Table::try_from(options).map_err(|source| ConfigError::Options(Box::new(source)))?;
    put_above(&mut layers, options);
    layers
        .try_into()
        .map_err(|source| ConfigError::Meaning(Box::new(source)))
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(failed)?.len() > CONFIG_BYTES_MAX {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
        });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    text.parse().map_err(|source| ConfigError::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn put_above(below: &mut Table, above: Table) {
    for (name, value) in above {
        match (below.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => put_above(below, above),
            (_, value) => {
                below.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io::Write as _;

    use expect_test::expect;
    use serde::Deserialize;

    use super::*;
    use crate::quantity::{Size, Span};

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RawConfig {
        space: Size,
        #[serde(default)]
        idle: Option<Span>,
        #[serde(default)]
        limits: Limits,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        up: Option<Size>,
        down: Option<Size>,
    }

    #[derive(Default, Serialize)]
    struct Options {
        space: Option<&'static str>,
        limits: Option<OptionLimits>,
    }

    #[derive(Serialize)]
    struct OptionLimits {
        down: Option<Size>,
    }

    fn written(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn load(text: &str, options: &Options) -> Result<RawConfig, ConfigError> {
        layered(Some(written(text).path()), options)
    }

    #[test]
    fn options_lie_above_the_file() {
        let options = Options {
            space: Some("2 GB"),
            limits: Some(OptionLimits {
                down: Some(Size(7)),
            }),
        };
        let text = "space = \"1 GB\"\nidle = \"10 s\"\n[limits]\nup = 5\ndown = 6\n";
        let loaded = load(text, &options).unwrap();
        let limits = Limits {
            up: Some(Size(5)),
            down: Some(Size(7)),
        };
        let idle = Some(Span::from_ms(10_000));
        assert_eq!(
            loaded,
            RawConfig {
                space: Size(2_000_000_000),
                idle,
                limits
            }
        );
    }

    #[test]
    fn no_file_is_fine_when_the_options_say_enough() {
        let options = Options {
            space: Some("1 GB"),
            ..Options::default()
        };
        assert_eq!(
            layered::<RawConfig>(None, &options).unwrap().space,
            Size(1_000_000_000)
        );
    }

    #[test]
    fn mistakes_are_named() {
        let reason = |text| {
            let error = load(text, &Options::default()).unwrap_err();
            error.source().unwrap().to_string()
        };
        expect![[r"
            unknown field `spcae`, expected one of `space`, `idle`, `limits`
        "]]
        .assert_eq(&reason("spcae = \"1 GB\""));
        assert!(reason("space = \"1 parsec\"").contains("needs one of the units"));
        let nowhere = Path::new("/nonexistent/xcore.toml");
        let error = layered::<RawConfig>(Some(nowhere), &Options::default()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/xcore.toml");
    }
}
