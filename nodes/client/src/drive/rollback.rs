//! A Bridge whose memory went back: it was restored from an older backup, or lies. Nothing goes on
//! before the owner says so; then this device goes by the older root, and keeps the newer one.

use model::formats::root::SignedRoot;
use model::units::UnixMs;

use super::open::{Drive, OpenError};

/// The root this device saw, and the one the Bridge has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// The number of the root seen.
    pub seen: u64,
    /// When it was made.
    pub seen_at: UnixMs,
    /// The number of the root that the Bridge has; 0 for none.
    pub found: u64,
    /// When it was made.
    pub found_at: UnixMs,
}

impl Drive {
    /// Looks whether the Bridge has an older history than this device saw; `None` where not.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn rollback(&self) -> Result<Option<Rollback>, OpenError> {
        let Err(refused) = self.head().await else {
            return Ok(None);
        };
        let OpenError::Forked { found, seen } = refused else {
            return Err(refused);
        };
        let time = |root: Option<&SignedRoot>| root.map_or(UnixMs(0), |it| it.unverified().time);
        let seen_root = self.root_seen()?;
        let found_root = self.root_found().await?;
        Ok(Some(Rollback {
            seen,
            seen_at: time(seen_root.as_ref()),
            found,
            found_at: time(found_root.as_ref()),
        }))
    }

    /// Goes by the older root from now on. The newer one stays in this device's folder.
    ///
    /// # Errors
    /// [`OpenError`]; also where the older root is not signed by a device of the account.
    pub async fn accept_rollback(&self) -> Result<(), OpenError> {
        let found = self.root_found().await?;
        if let Some(found) = &found {
            // Everything but descent must hold.
            self.verify_root(found).await?;
        }
        self.home.rewind_root(found.as_ref())?;
        Ok(())
    }
}
