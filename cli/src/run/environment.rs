//! What the nodes and the gateway of `micro run` are told by their environment.

use std::{env, ffi::OsString};

use super::settings::SettingsFile;
use crate::{arguments::RegistryArguments, failure::Result};

/// Whether loopback addresses in the registry are this host's: here they are, as nodes, gateway and whoever asks for them
/// run side by side. A registry on another host would have them be another host's.
const OWN_LOOPBACK: &str = "MICRO_CLIENT_OWN_LOOPBACK";

/// What processes are told on top of what this one was told itself, and before what stands in `file`.
///
/// # Errors
///
/// When the file cannot be read.
pub(super) fn environment(
    registry: &RegistryArguments,
    file: &SettingsFile,
) -> Result<Vec<(&'static str, OsString)>> {
    let is_inherited = env::var_os(OWN_LOOPBACK).is_some_and(|value| !value.is_empty());
    told(registry, file, is_inherited)
}

fn told(
    registry: &RegistryArguments,
    file: &SettingsFile,
    is_inherited: bool,
) -> Result<Vec<(&'static str, OsString)>> {
    // A user who has said something of it has said it for these processes, too.
    let is_said = is_inherited || file.tells_of_loopback()?;
    let named = file.named().map(|path| path.as_os_str().to_owned());
    let told = [
        ("MICRO_REGISTRY", registry.registry.as_ref().map(OsString::from)),
        (
            "MICRO_REGISTRY_ADDRESS",
            registry.registry_address.as_ref().map(OsString::from),
        ),
        ("MICRO_CONFIG", named),
        (OWN_LOOPBACK, (!is_said).then(|| "true".into())),
    ];
    Ok(told
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn loopback_is_said_to_be_its_own_unless_somebody_has_said_something_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile::of(folder.path()).unwrap();
        let names = |is_inherited| {
            let told = told(&RegistryArguments::default(), &file, is_inherited).unwrap();
            told.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(false), [OWN_LOOPBACK]);
        assert_eq!(names(true), [""; 0]);
        for (settings, expected) in [
            // It decides which addresses are called at all, and goes on to.
            ("[client]\nallow = [\"private\"]\n", &[OWN_LOOPBACK][..]),
            ("[client]\nown_loopback = false\n", &[]),
            ("[client]\nown_loopback = true\n", &[]),
        ] {
            fs::write(file.path(), settings).unwrap();
            assert_eq!(names(false), expected, "{settings}");
        }
    }
}
